"""Files that are damaged, or changed by somebody else, and what then acts on them."""

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from crc32c import crc32c

from shuffle import MergeOptions, merge
from shuffle.inspecting.repair import repair
from shuffle.inspecting.soundness import verify_file
from shuffle.testing import write_spill
from spill_format import (
    SpillFile,
)
from spill_format.checksum import mask
from spill_format.framing import IndexPlace, encode_place, metadata_length_of
from spill_format.schemas import ORIGINAL_SCHEMA_KEY, storage_schema
from spill_format.stream import decode_stream, ranges_within
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import (
    Damage,
    u32,
)
from tests.helpers.spills import write_sample

REPAIR = "`shuffle repair FILE -o OUT` recovers what is whole"
AT = "PATH/a.arrow, offset …: "

NOTE = encode_place(1, 0, IndexPlace(1000, 2000))
COMPRESSED_WITH_9 = struct.pack(
    # A Message, its header a RecordBatch, its compression a BodyCompression of codec 9; vtables before tables.
    "<I 5H2x iI 6H iI 3H2x iB3x",
    16, 10, 8, 0, 0, 4, 12, 16, 12, 8, 0, 0, 0, 4, 12, 12, 6, 8, 4, 8, 9,
)  # fmt: skip

Act = Callable[[Path], object]


def read(path: Path) -> None:
    with SpillFile(path) as spill:
        spill.read(0, spill.partition_count)


def verify(path: Path) -> None:
    with SpillFile(path) as spill:
        spill.verify()


def verify_deeply(path: Path) -> None:
    damage = verify_file(path).first_damage
    assert damage is not None
    raise damage


def damaged(damage: Damage, act: Act = SpillFile) -> Callable[[Path], object]:
    """What acts on a sample of four partitions after this happened to it."""

    def provoke(directory: Path) -> object:
        path = write_sample(directory / "a.arrow")
        path.write_bytes(damage(Anatomy.of(path)))
        return act(path)

    return provoke


def of_another_kind(kind: Callable[[Path], object], act: Act = SpillFile) -> Callable[[Path], object]:
    """What acts on something that is no file."""

    def provoke(directory: Path) -> object:
        kind(directory / "a.arrow")
        return act(directory / "a.arrow")

    return provoke


def repair_beside(path: Path) -> object:
    return repair(path, path.with_name("repaired.arrow"))


def without_blocks(template: bytes) -> bytes:
    """A footer whose root table has no list of record batches."""
    (root,) = struct.unpack_from("<I", template)
    (distance,) = struct.unpack_from("<i", template, root)
    slot = root - distance + 4 + 2 * 3
    return template[:slot] + bytes(2) + template[slot + 2 :]


def cut_while_opened(directory: Path) -> None:
    """Open a file that is cut after its structure was read, before it is mapped."""
    path = write_sample(directory / "a.arrow")
    armed = True

    def cut(event: str, _arguments: object) -> None:
        nonlocal armed
        if armed and event == "mmap.__new__":
            armed = False
            os.truncate(path, 1000)

    sys.addaudithook(cut)  # for good: it does nothing the second time
    try:
        SpillFile(path)
    finally:
        armed = False


def change_while_repaired(directory: Path) -> None:
    """Repair a file that is changed when it has been looked through."""
    path = write_sample(directory / "a.arrow")
    anatomy = Anatomy.of(path)
    remaining = anatomy.marker - anatomy.offsets[0]

    def progress(byte_count: int) -> None:
        nonlocal remaining
        remaining -= byte_count
        if remaining <= 0:
            path.write_bytes(anatomy.patched(anatomy.marker - 8, b"changed!"))

    repair(path, directory / "repaired.arrow", progress=progress)


def compact(path: Path) -> object:
    return merge([path], path.with_name("compact.arrow"), MergeOptions(compact=True))


def with_length_64(message: bytes) -> bytes:
    """Forge a message's prefix: another length of its metadata, under a right seal."""
    length = metadata_length_of(message)
    forged = message[:4] + u32(64) + message[8 : length - 4]
    return forged + u32(mask(crc32c(forged)))


def forged_schema(directory: Path) -> Path:
    """A file whose schema is none, under a right seal."""
    return with_schema_message(
        write_sample(directory / "a.arrow"), lambda message: message[:8] + b"\xff" * len(message[8:])
    )


def forged_original(directory: Path) -> Path:
    """A file whose schema says that its columns were others, in words that are none, under a right seal."""
    schema = pa.schema([("d", pa.dictionary(pa.int8(), pa.string()))])
    original = storage_schema(schema).metadata[ORIGINAL_SCHEMA_KEY]
    path = write_spill({}, directory / "a.arrow", schema=schema, partition_count=1)
    return with_schema_message(path, lambda message: message.replace(original, b"A" * len(original)))


def with_schema_message(path: Path, forge: Callable[[bytes], bytes]) -> Path:
    """Forge the file's schema message before its seal, and seal it again."""
    sound = Anatomy.of(path)
    end = sound.offsets[0] - 16
    forged = forge(sound.raw[8:end]) + sound.raw[end : end + 12]
    path.write_bytes(sound.patched(8, forged + u32(mask(crc32c(forged)))))
    return path


def decode(path: Path) -> object:
    return decode_stream(path.read_bytes(), "http://host/a.arrow")


def stream(content: bytes) -> Callable[[Path], object]:
    return lambda _: ranges_within(content, "http://host/a.arrow/partitions/3")
