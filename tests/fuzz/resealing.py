"""Checksums made to fit after a mutation: else each is a wall that no fuzzer gets over."""

from __future__ import annotations

import struct

from crc32c import crc32c

from spill_format.checksum import mask
from spill_format.messages import metadata_length_of, read_batch_size, read_seal, seal_metadata
from tests.fuzz.targets import corpus_of
from tests.helpers.anatomy import Anatomy

_SEAL_BYTES = 16


def resealed(name: str, data: bytes) -> bytes:
    """An input of a target, as far as its parts are found, with right checksums."""
    try:
        if corpus_of(name).name == "file":
            return _file(data)
        if name != "stream":
            return data
        return _header(data[: metadata_length_of(data)]) + _messages(data[metadata_length_of(data) :])
    except (ValueError, struct.error, IndexError, OverflowError):
        return data


def _file(raw: bytes) -> bytes:
    sound = Anatomy.cut(raw)
    first, marker = sound.offsets[0], sound.marker
    if not 8 <= first <= marker <= sound.index <= sound.messages <= sound.details <= sound.membership <= len(raw):
        return raw
    ranges = [_messages(raw[start:stop]) for start, stop in zip(sound.offsets, sound.offsets[1:], strict=False)]
    content = b"".join([raw[:8], _header(raw[8:first]), *ranges])
    if len(content) != marker:
        return raw
    patched = bytearray(content + raw[marker:])
    for partition, each in enumerate(ranges):
        struct.pack_into("<I", patched, sound.of_partition(partition, "crc32c"), crc32c(each))
    place = sound.of_partition(0, "offset")
    return Anatomy.cut(bytes(patched)).patched_index(place, bytes(patched[place : place + 8]))


def _header(message: bytes) -> bytes:
    if message[-_SEAL_BYTES:-12] != b"HEAD":
        return message
    return message[:-4] + struct.pack("<I", mask(crc32c(message[:-4])))


def _messages(content: bytes) -> bytes:
    """Messages with right seals, and unchanged what follows them."""
    found, position = [], 0
    while position < len(content):
        try:
            length = metadata_length_of(content[position : position + 8])
            metadata = content[position : position + length]
            body = content[position + length : position + length + read_batch_size(metadata).body_bytes]
            seal = read_seal(metadata)
        except (ValueError, struct.error, IndexError):
            break
        if seal is None or len(metadata) < length:
            break
        found.append(seal_metadata(metadata[:-_SEAL_BYTES], seal.partition, crc32c(body), 0) + body)
        position += length + len(body)
    return b"".join(found) + content[position:]
