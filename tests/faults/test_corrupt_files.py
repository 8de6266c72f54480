"""A file whose structure is damaged or forged, one case a defect: which error a check gives, and what it says."""

from __future__ import annotations

import os
import resource
import struct
from pathlib import Path

import pytest
from crc32c import crc32c

from shuffle.testing import write_spill
from spill_format import (
    ChecksumError,
    CorruptError,
    NotPartitionedError,
    SpillError,
    SpillFile,
    TruncatedError,
    VersionError,
)
from spill_format.footer import IndexPlace, encode_place
from spill_format.messages import END_OF_STREAM
from spill_format.structure import FileStructure, read_structure
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import (
    Damage,
    arrow_file_without_index,
    first_block,
    footer_field,
    footer_replaced,
    forged_membership,
    header_resealed,
    i64,
    index_pushed,
    no_section,
    note_replaced,
    u32,
)
from tests.helpers.spills import FLAT_SCHEMA, write_sample


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path_factory.mktemp("sound") / "sample.spill.arrow"))


# What is wrong, how the file comes to be so, which error it gives, and what the message says.
STRUCTURE: list[tuple[str, Damage, type[SpillError], list[str]]] = [
    # length and magic
    ("empty", lambda _: b"", TruncatedError, ["the file is empty"]),
    ("one byte", lambda _: b"A", TruncatedError, ["too short", "expected 26 bytes or more, found 1"]),
    ("one wrong byte", lambda _: b"P", CorruptError, ["not an Arrow IPC file", "offset 0"]),
    ("another format", lambda _: b"PAR1" + bytes(100), CorruptError, ["not an Arrow IPC file", "b'PAR1"]),
    ("magic alone", lambda s: s.raw[:8], TruncatedError, ["too short", "found 8"]),
    ("magic's padding", lambda s: s.patched(7, b"x"), CorruptError, ["not an Arrow IPC file"]),
    ("end magic", lambda s: s.patched(-1, b"2"), TruncatedError, ["cut off or was never finished", "ARROW2", "repair"]),
    ("cut in the header", lambda s: s.raw[:100], TruncatedError, ["cut off"]),
    ("cut after the header", lambda s: s.raw[: s.offsets[0]], TruncatedError, ["cut off"]),
    ("cut in a range", lambda s: s.raw[: s.offsets[1] - 5], TruncatedError, ["cut off"]),
    ("cut after the ranges", lambda s: s.raw[: s.marker], TruncatedError, ["cut off"]),
    ("cut after the marker", lambda s: s.raw[: s.index], TruncatedError, ["cut off"]),
    ("cut in the index", lambda s: s.raw[: s.index + 60], TruncatedError, ["cut off"]),
    ("cut after the index", lambda s: s.raw[: s.footer], TruncatedError, ["cut off"]),
    ("cut in the footer", lambda s: s.raw[: s.footer + 60], TruncatedError, ["cut off"]),
    ("last byte cut", lambda s: s.raw[:-1], TruncatedError, ["cut off"]),
    ("a byte more", lambda s: s.raw + b"\0", TruncatedError, ["cut off"]),
    # footer
    ("footer length 0", lambda s: s.patched(-10, u32(0)), CorruptError, ["length of the Arrow footer", "found 0"]),
    ("footer length negative", lambda s: s.patched(-10, u32(2**32 - 1)), CorruptError, ["found -1"]),
    ("footer length absurd", lambda s: s.patched(-10, u32(2**31 - 1)), CorruptError, ["found 2147483647"]),
    ("footer shorter", lambda s: s.patched(-10, u32(8)), CorruptError, ["footer is not a readable flatbuffer"]),
    ("footer of 1 byte", lambda s: s.patched(-10, u32(1)), CorruptError, ["footer is not a readable flatbuffer"]),
    ("footer root far out", lambda s: s.patched(s.footer, u32(2**32 - 1)), CorruptError, ["not the one that the"]),
    ("footer all ones", lambda s: footer_replaced(s, b"\xff" * 400), CorruptError, ["length of the Arrow footer that"]),
    ("footer metadata far out", lambda s: s.patched(footer_field(s, 4), u32(2**32 - 8)), CorruptError, ["not the one"]),
    (
        "footer all ones, no index",
        lambda s: no_section(s, footer_replaced(s, b"\xff" * 400)),
        CorruptError,
        ["footer is not a readable flatbuffer"],
    ),
    (
        "footer vtable before it",
        lambda s: no_section(s, footer_replaced(s, u32(4) + u32(2**31 - 1) + bytes(64))),
        CorruptError,
        ["vt"],
    ),
    (
        "footer all zeroes, no index",
        lambda s: no_section(s, footer_replaced(s, bytes(400))),
        NotPartitionedError,
        ["without a partition index"],
    ),
    ("no index", arrow_file_without_index, NotPartitionedError, ["without a partition index", "shuffle partition"]),
    # note: read where there is no index before the footer, and compared where there is one
    (
        "note's key",
        lambda s: no_section(s, s.patched(s.raw.index(b"spill_format", s.footer), b"spoil")),
        NotPartitionedError,
        ["without a partition index"],
    ),
    ("note empty", lambda s: no_section(s, note_replaced(s, "")), CorruptError, ["note of the index section"]),
    ("note nested", lambda s: no_section(s, note_replaced(s, "[" * 112)), CorruptError, ["note of the index section"]),
    (
        "note newer major",
        lambda s: no_section(s, note_replaced(s, '{"version":"2.0","place":[]}')),
        VersionError,
        ["1.x", "2.0", "newer"],
    ),
    (
        "note other minor than the index",
        lambda s: note_replaced(s, encode_place(1, 7, IndexPlace(s.index, s.footer - s.index, 4))),
        CorruptError,
        ["footer is not the one that the index describes"],
    ),
    ("section magic", lambda s: s.patched(s.index, b"X"), CorruptError, ["end-of-stream marker behind the last range"]),
    # summary: magic, version, checksum, meaning
    ("summary magic", lambda s: s.patched(s.summary, b"X"), CorruptError, ["magic of its summary", "XPILLSUM"]),
    ("newer major", lambda s: s.patched(s.summary + 8, b"\2"), VersionError, ["version of the format", "2.0", "newer"]),
    ("summary checksum", lambda s: s.patched(s.footer - 4, b"1234"), ChecksumError, ["CRC-32C of its summary"]),
    ("no partitions", lambda s: s.patched_index(s.summary + 24, i64(0)), CorruptError, ["partitions", "found 0"]),
    ("absurd partitions", lambda s: s.patched_index(s.summary + 24, b"\xff" * 8), CorruptError, ["length of its d"]),
    ("absurd batches", lambda s: s.patched_index(s.summary + 32, b"\xff" * 8), CorruptError, ["length of its details"]),
    ("fewer batches", lambda s: s.patched_index(s.summary + 32, i64(1)), CorruptError, ["that of its parts"]),
    ("absurd template", lambda s: s.patched_index(s.summary + 60, u32(2**32 - 1)), CorruptError, ["of its details"]),
    ("section length", lambda s: s.patched_index(s.summary + 16, i64(8)), CorruptError, ["that of its parts"]),
    ("ranges end", lambda s: s.patched_index(s.summary + 48, i64(64)), CorruptError, ["does not follow the ranges"]),
    ("first offset", lambda s: s.patched_index(s.summary + 40, i64(2**40)), CorruptError, ["do not fit the ranges"]),
    ("alignment 48", lambda s: s.patched_index(s.summary + 12, u32(48)), CorruptError, ["power of two", "found 48"]),
    ("alignment larger", lambda s: s.patched_index(s.summary + 12, u32(65536)), CorruptError, ["alignment", "65536"]),
    ("details damaged", lambda s: s.patched(s.template, b"\x7f"), ChecksumError, ["CRC-32C of its details"]),
    # set membership
    ("membership damaged", lambda s: s.patched(s.membership, b"\x7f"), ChecksumError, ["set membership"]),
    (
        "membership of nothing",
        lambda s: s.patched(s.membership, forged_membership(3, 3)),
        CorruptError,
        ["number of the spill", "below 3, found 3"],
    ),
    # blocks: checksum, meaning
    (
        "partitions damaged",
        lambda s: s.patched(s.of_partition(0, "rows"), b"\x7f"),
        ChecksumError,
        ["CRC-32C of a block"],
    ),
    ("messages damaged", lambda s: s.patched(s.messages, b"\x7f"), ChecksumError, ["CRC-32C of a block"]),
    (
        "offset negative",
        lambda s: s.patched_index(s.of_partition(0, "offset"), i64(-64)),
        CorruptError,
        ["offset: expected 32 or more", "-64"],
    ),
    (
        "offset at first another",
        lambda s: s.patched_index(s.of_partition(0, "offset"), i64(s.offsets[0] - 64)),
        CorruptError,
        ["do not reach from header to marker"],
    ),
    (
        "offsets decrease",
        lambda s: s.patched_index(s.of_partition(2, "offset"), i64(64)),
        CorruptError,
        ["partition 1", "ends before it starts", "found 64"],
    ),
    (
        "offset unaligned",
        lambda s: s.patched_index(s.of_partition(1, "offset"), i64(s.offsets[1] - 8)),
        CorruptError,
        ["partition 1", "not aligned"],
    ),
    (
        "border within a message",
        lambda s: s.patched_index(s.of_partition(1, "offset"), i64(s.offsets[1] - 64)),
        CorruptError,
        ["partition 0", "do not fill the range"],
    ),
    (
        "messages of another partition",
        lambda s: s.patched_index(s.of_partition(1, "first_message"), u32(1)),
        CorruptError,
        ["partition 0", "do not fill the range"],
    ),
    (
        "first messages decrease",
        lambda s: s.patched_index(s.of_partition(1, "first_message"), u32(2**32 - 1)),
        CorruptError,
        ["numbers of first messages"],
    ),
    (
        "first messages end early",
        lambda s: s.patched_index(s.of_partition(4, "first_message"), u32(2)),
        CorruptError,
        ["numbers of first messages"],
    ),
    (
        "rows negative",
        lambda s: s.patched_index(s.of_partition(0, "rows"), i64(-1)),
        CorruptError,
        ["partition 0", "negative", "-1"],
    ),
    (
        "rows of nothing",
        lambda s: s.patched_index(s.of_partition(1, "rows"), i64(5)),
        CorruptError,
        ["partition 1", "has rows"],
    ),
    (
        "rows absurd",
        lambda s: s.patched_index(s.of_partition(0, "rows"), i64(2**63 - 1)),
        CorruptError,
        ["partition 0", "row count is absurd"],
    ),
    (
        "body negative",
        lambda s: s.patched_index(s.of_message(0, "body_length"), i64(-8)),
        CorruptError,
        ["lengths of metadata and body of record batch 0", "-8"],
    ),
    (
        "body absurd",
        lambda s: s.patched_index(s.of_message(0, "body_length"), i64(2**63 - 8)),
        CorruptError,
        ["body length of record batch 0", "2**63"],
    ),
    (
        "body not ×8",
        lambda s: s.patched_index(s.of_message(0, "body_length"), i64(1)),
        CorruptError,
        ["multiples of 8"],
    ),
    (
        "metadata 0",
        lambda s: s.patched_index(s.of_message(0, "metadata_length"), u32(0)),
        CorruptError,
        ["metadata length: expected 32 or more"],
    ),
    # what must agree
    (
        "template unreadable",
        lambda s: s.patched_index(s.template, b"\xff" * 4),
        CorruptError,
        ["index section: its footer template", "readable flatbuffer"],
    ),
    (
        "template without a note",
        lambda s: s.patched_index(s.raw.index(b"spill_format", s.index), b"SPILL"),
        CorruptError,
        ["footer template", "no room"],
    ),
    ("block offset", lambda s: s.patched(first_block(s), i64(8)), CorruptError, ["not the one that the"]),
    ("block padding", lambda s: s.patched(-10 - 12, b"\1"), CorruptError, ["not the one that the index describes"]),
    ("fewer blocks", lambda s: s.patched(first_block(s) - 4, u32(2)), CorruptError, ["not the one that the"]),
    ("blocks nowhere", lambda s: s.patched(footer_field(s, 3), u32(2**32 - 1)), CorruptError, ["not the one that the"]),
    (
        "marker",
        lambda s: s.patched(s.marker + 4, b"\1"),
        CorruptError,
        ["end-of-stream marker", "ff ff ff ff 01 00 00 00"],
    ),
    ("bytes before the index", index_pushed, CorruptError, ["does not follow the ranges"]),
    ("bytes before the footer", lambda s: s.spliced(s.footer, s.footer, bytes(8)), CorruptError, ["magic of"]),
    # schema message
    ("schema prefix", lambda s: s.patched(8, b"\0"), CorruptError, ["schema message cannot be read", "offset 8"]),
    ("schema length 0", lambda s: s.patched(12, u32(0)), CorruptError, ["schema message cannot be read"]),
    (
        "schema length negative",
        lambda s: s.patched(12, u32(2**32 - 8)),
        CorruptError,
        ["schema message cannot be read"],
    ),
    ("schema length", lambda s: s.patched(12, u32(64)), CorruptError, ["does not follow the schema message"]),
    ("schema damaged", lambda s: s.patched(40, b"\x55"), ChecksumError, ["CRC-32C of the schema message"]),
    ("header seal's magic", lambda s: s.patched(s.offsets[0] - 16, b"h"), CorruptError, ["has no seal"]),
    ("header seal's checksum", lambda s: s.patched(s.offsets[0] - 4, b"1234"), ChecksumError, ["schema message"]),
    ("header's partitions", lambda s: header_resealed(s, 5, 64), CorruptError, ["seal and the index disagree on"]),
    ("header's alignment", lambda s: header_resealed(s, 4, 128), CorruptError, ["alignment", "64, found 128"]),
]


def check_all(path: Path) -> FileStructure:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read_structure(descriptor, path)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("damage", "error", "fragments"), [c[1:] for c in STRUCTURE], ids=[c[0] for c in STRUCTURE])
def test_checking_says_what_is_wrong(
    sound: Anatomy, tmp_path: Path, damage: Damage, error: type[SpillError], fragments: list[str]
) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(damage(sound))
    with pytest.raises(SpillError) as caught:
        check_all(path)
    assert type(caught.value) is error
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        SpillFile(tmp_path)
    assert caught.value.filename == str(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SpillError, match="device, pipe or socket"):
            SpillFile(path)
    with pytest.raises(FileNotFoundError):
        SpillFile(tmp_path / "nothing")


def test_a_sparse_file_that_claims_an_index_of_40_gib_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """All that opening reads is right; the blocks are a hole, whose checksum the details record as a forger would."""
    partition_count = 2**31 - 1
    sound = Anatomy.of(write_spill({}, tmp_path / "empty.arrow", schema=FLAT_SCHEMA, partition_count=1))
    first, length = sound.offsets[0], 8 + 24 * (partition_count + 1)
    table = struct.pack("<I", crc32c(bytes(24 * 2048))) * (1 << 20)
    details = table + sound.raw[sound.template : sound.membership]
    details += bytes(-(length + len(details)) % 8)
    fields = list(struct.unpack("<8sHHIQQQQQIII", sound.raw[sound.summary : sound.summary + 68]))
    template_length = fields[10]
    details = details[: len(table) + template_length]
    details += bytes(-(length + len(details)) % 8)
    fields[4], fields[5], fields[9] = length + len(details) + 112, partition_count, len(details)
    summary = struct.pack("<8sHHIQQQQQIIII4x", *fields, crc32c(details))
    header = header_resealed(sound, partition_count, 64)[:first]
    path = tmp_path / "sparse.arrow"
    with path.open("wb") as file:
        file.write(header + END_OF_STREAM + b"SPILLIDX")
        file.seek(first + 8 + length)
        file.write(details + bytes(32) + summary + u32(crc32c(summary)) + sound.raw[sound.footer :])
    assert path.stat().st_size > 40 << 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with SpillFile(path) as spill:
        assert spill.partition_count == partition_count
        for act in (lambda: spill.layout, lambda: spill.read(7), spill.verify):
            with pytest.raises(CorruptError, match="offset: expected 32 or more, found 0"):
                act()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    path.unlink()
