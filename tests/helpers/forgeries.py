"""Files as someone would forge them: wrong in one place, and right in all checksums that cover it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pyarrow as pa
from crc32c import crc32c

from spill_format.checksum import mask
from spill_format.footer import IndexPlace, encode_place
from spill_format.messages import metadata_length_of, read_seal, seal_metadata
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import flat_batch

Damage = Callable[[Anatomy], bytes]


def i64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def note_replaced(sound: Anatomy, note: str) -> bytes:
    """The file with another note of the index in its footer."""
    start = sound.raw.index(b'{"version"', sound.footer)
    return sound.patched(start, note.ljust(112).encode())


def no_section(sound: Anatomy, raw: bytes) -> bytes:
    """The file with nothing that looks like an index section before its footer."""
    return raw[: sound.summary] + bytes(8) + raw[sound.summary + 8 :]


def forged_membership(number: int, count: int) -> bytes:
    """A file's membership in a set that the code would not write, under a right checksum."""
    fields = struct.pack("<16sII4x", b"set", number, count)
    return fields + u32(crc32c(fields))


def footer_replaced(sound: Anatomy, footer: bytes) -> bytes:
    return sound.raw[: sound.footer] + footer + struct.pack("<i", len(footer)) + b"ARROW1"


def footer_field(sound: Anatomy, slot: int) -> int:
    """Where the field of the footer's root table is, in the file."""
    (root,) = struct.unpack_from("<I", sound.raw, sound.footer)
    (distance,) = struct.unpack_from("<i", sound.raw, sound.footer + root)
    (field,) = struct.unpack_from("<H", sound.raw, sound.footer + root - distance + 4 + 2 * slot)
    return int(sound.footer + root + field)


def first_block(sound: Anatomy) -> int:
    return len(sound.raw) - 10 - 24 * sound.batch_count


def arrow_file_without_index(_: Anatomy) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, flat_batch(1).schema) as writer:
        writer.write(flat_batch(3))
    return bytes(sink.getvalue().to_pybytes())


def header_resealed(sound: Anatomy, partition_count: int, alignment: int) -> bytes:
    """A header whose seal says this of the file, under a right checksum."""
    seal_start = sound.offsets[0] - 16
    seal = b"HEAD" + u32(partition_count) + u32(alignment)
    return sound.patched(seal_start, seal + u32(mask(crc32c(sound.raw[8:seal_start] + seal))))


def index_pushed(sound: Anatomy) -> bytes:
    """Eight bytes between end-of-stream marker and index, and a note that says where the index now is."""
    note = encode_place(1, 0, IndexPlace(sound.index + 8, sound.footer - sound.index, sound.partition_count))
    pushed = note_replaced(sound, note)
    return pushed[: sound.index] + bytes(8) + pushed[sound.index :]


def range_forged(sound: Anatomy, partition: int, forge: Callable[[bytes], bytes]) -> bytes:
    """The file with the first message of a partition forged, and the range's checksum made to fit."""
    start, end = sound.offsets[partition : partition + 2]
    forged = Anatomy.cut(sound.patched(start, forge(sound.raw[start:end])))
    checksum = crc32c(forged.raw[start:end])
    return forged.patched_index(forged.of_partition(partition, "crc32c"), u32(checksum))


def sealed_for(partition: int) -> Callable[[bytes], bytes]:
    """Forge a message's seal: that of another partition."""

    def forge(message: bytes) -> bytes:
        metadata = message[: metadata_length_of(message)]
        seal = read_seal(metadata)
        assert seal is not None
        return seal_metadata(metadata[:-16], partition, seal.body_crc32c, 0)

    return forge


def with_flatbuffer(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Forge a message's flatbuffer, under a right seal."""

    def forge(message: bytes) -> bytes:
        metadata = message[: metadata_length_of(message)]
        seal = read_seal(metadata)
        assert seal is not None
        forged = metadata[:8] + change(metadata[8:-16])
        return seal_metadata(forged, seal.partition, seal.body_crc32c, 0)

    return forge


def with_body(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Forge a message's body, which the change must change and leave as long, under a right seal."""

    def forge(message: bytes) -> bytes:
        length = metadata_length_of(message)
        seal = read_seal(message[:length])
        assert seal is not None
        body = change(message[length:])
        assert body != message[length:]
        assert len(body) == len(message) - length
        return seal_metadata(message[: length - 16], seal.partition, crc32c(body), 0) + body

    return forge
