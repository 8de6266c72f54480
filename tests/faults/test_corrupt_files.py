"""A file whose structure is damaged or forged, one case a defect: which error opening it gives, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spill_format import (
    ChecksumError,
    CorruptError,
    NotPartitionedError,
    SpillError,
    SpillFile,
    TruncatedError,
    VersionError,
)
from spill_format.framing import IndexPlace, encode_place
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import (
    Damage,
    arrow_file_without_index,
    first_block,
    footer_field,
    footer_replaced,
    header_resealed,
    i64,
    index_pushed,
    note_replaced,
    u32,
)
from tests.helpers.spills import write_sample


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
    ("footer root far out", lambda s: s.patched(s.footer, u32(2**32 - 1)), CorruptError, ["readable flatbuffer"]),
    ("footer all ones", lambda s: footer_replaced(s, b"\xff" * 400), CorruptError, ["readable flatbuffer"]),
    (
        "footer vtable before it",
        lambda s: footer_replaced(s, u32(4) + u32(2**31 - 1) + bytes(64)),
        CorruptError,
        ["vt"],
    ),
    ("footer all zeroes", lambda s: footer_replaced(s, bytes(400)), NotPartitionedError, ["without a partition index"]),
    ("metadata far out", lambda s: s.patched(footer_field(s, 4), u32(2**32 - 8)), CorruptError, ["flatbuffer"]),
    ("no index", arrow_file_without_index, NotPartitionedError, ["without a partition index", "shuffle partition"]),
    # note
    (
        "note's key",
        lambda s: s.patched(s.raw.index(b"spill_format", s.footer), b"spoil"),
        NotPartitionedError,
        ["without a partition index"],
    ),
    ("note empty", lambda s: note_replaced(s, ""), CorruptError, ["note of the index section", '{"version":"1.0"']),
    ("note garbled", lambda s: note_replaced(s, "\0" * 88), CorruptError, ["note of the index section"]),
    (
        "note of floats",
        lambda s: note_replaced(s, '{"version":"1.0","offset":1e400,"length":8}'),
        CorruptError,
        ["note"],
    ),
    ("note negative", lambda s: note_replaced(s, '{"version":"1.0","offset":-8,"length":8}'), CorruptError, ["note"]),
    ("note half", lambda s: note_replaced(s, '{"version":"1.0","offset":8}'), CorruptError, ["note"]),
    ("note nested", lambda s: note_replaced(s, "[" * 88), CorruptError, ["note"]),
    (
        "note newer major",
        lambda s: note_replaced(s, '{"version":"2.0","place":[]}'),
        VersionError,
        ["1.x", "2.0", "newer"],
    ),
    ("note older major", lambda s: note_replaced(s, '{"version":"0.9","place":[]}'), VersionError, ["0.9"]),
    (
        "note other minor than the index",
        lambda s: note_replaced(s, encode_place(1, 7, IndexPlace(s.index, s.footer - s.index))),
        CorruptError,
        ["footer is not the one that the index describes"],
    ),
    (
        "note nowhere",
        lambda s: note_replaced(s, '{"version":"1.0","offset":0,"length":0}'),
        CorruptError,
        ["another place"],
    ),
    (
        "note behind the file",
        lambda s: note_replaced(s, f'{{"version":"1.0","offset":{10**19 - 1},"length":{10**19 - 1}}}'),
        CorruptError,
        ["another place", "9999999999999999999"],
    ),
    (
        "note to bytes that are no index",
        lambda s: note_replaced(s, f'{{"version":"1.0","offset":{s.index + 8},"length":{s.footer - s.index - 8}}}'),
        CorruptError,
        ["index section: magic"],
    ),
    (
        "note to nothing",
        lambda s: note_replaced(s, f'{{"version":"1.0","offset":{s.footer},"length":0}}'),
        TruncatedError,
        ["index section: its length in bytes", "found 0"],
    ),
    # index section: magic, version, length, checksum
    ("index magic", lambda s: s.patched(s.index, b"X"), CorruptError, ["index section: magic", "XPILLIDX"]),
    (
        "index newer major",
        lambda s: s.patched(s.index + 8, b"\2"),
        VersionError,
        ["version of the format", "2.0", "newer"],
    ),
    ("index length", lambda s: s.patched(s.index + 16, i64(8)), CorruptError, ["its length differs", "found 8"]),
    (
        "index checksum",
        lambda s: s.patched(s.footer - 4, b"1234"),
        ChecksumError,
        ["index section: CRC-32C", "34333231"],
    ),
    ("index damaged", lambda s: s.patched(s.array("rows"), b"\x7f"), ChecksumError, ["index section: CRC-32C"]),
    # index section: meaning
    (
        "no partitions",
        lambda s: s.patched_index(s.index + 24, i64(0)),
        CorruptError,
        ["number of partitions", "found 0"],
    ),
    (
        "absurd partitions",
        lambda s: s.patched_index(s.index + 24, b"\xff" * 8),
        CorruptError,
        ["its length differs from that of its arrays"],
    ),
    (
        "absurd batches",
        lambda s: s.patched_index(s.index + 32, b"\xff" * 8),
        CorruptError,
        ["its length differs from that of its arrays"],
    ),
    (
        "fewer batches",
        lambda s: s.patched_index(s.index + 32, i64(1)),
        CorruptError,
        ["its length differs from that of its arrays"],
    ),
    (
        "absurd template",
        lambda s: s.patched_index(s.index + 40, u32(2**32 - 1)),
        CorruptError,
        ["its length differs from that of its arrays"],
    ),
    ("alignment 0", lambda s: s.patched_index(s.index + 12, u32(0)), CorruptError, ["alignment", "found 0"]),
    ("alignment 48", lambda s: s.patched_index(s.index + 12, u32(48)), CorruptError, ["power of two", "found 48"]),
    ("alignment larger", lambda s: s.patched_index(s.index + 12, u32(65536)), CorruptError, ["not aligned", "65536"]),
    (
        "offset negative",
        lambda s: s.patched_index(s.array("offsets"), i64(-64)),
        CorruptError,
        ["before the file", "-64"],
    ),
    (
        "offsets decrease",
        lambda s: s.patched_index(s.array("offsets") + 16, i64(64)),
        CorruptError,
        ["partition 1", "ends before it starts", "found 64"],
    ),
    (
        "offsets wrap around",
        lambda s: s.patched_index(s.array("offsets"), i64(2**63 - 64, -(2**63))),
        CorruptError,
        ["partition 0", "ends before it starts"],
    ),
    (
        "offset unaligned",
        lambda s: s.patched_index(s.array("offsets") + 32, i64(s.offsets[-1] + 8)),
        CorruptError,
        ["partition 3", "not aligned"],
    ),
    (
        "offsets overrun the messages",
        lambda s: s.patched_index(s.array("offsets") + 32, i64(s.offsets[-1] + 64)),
        CorruptError,
        ["partition 3", "do not fill the range"],
    ),
    (
        "border within a message",
        lambda s: s.patched_index(s.array("offsets") + 8, i64(s.offsets[1] - 64)),
        CorruptError,
        ["partition 0", "do not fill the range"],
    ),
    (
        "offsets end early",
        lambda s: s.patched_index(s.array("offsets") + 16, i64(*[s.offsets[1]] * 3) + i64(4, 0, 0)),
        CorruptError,
        ["messages overrun the ranges"],
    ),
    (
        "rows negative",
        lambda s: s.patched_index(s.array("rows"), i64(-1)),
        CorruptError,
        ["partition 0", "negative", "-1"],
    ),
    (
        "rows of nothing",
        lambda s: s.patched_index(s.array("rows") + 8, i64(5)),
        CorruptError,
        ["partition 1", "has rows"],
    ),
    (
        "rows absurd",
        lambda s: s.patched_index(s.array("rows"), i64(2**63 - 1)),
        CorruptError,
        ["partition 0", "row count is absurd"],
    ),
    (
        "body negative",
        lambda s: s.patched_index(s.array("body_lengths"), i64(-8)),
        CorruptError,
        ["record batch 0", "-8"],
    ),
    (
        "body absurd",
        lambda s: s.patched_index(s.array("body_lengths"), i64(2**63 - 8)),
        CorruptError,
        ["record batch 0"],
    ),
    ("body not ×8", lambda s: s.patched_index(s.array("body_lengths"), i64(1)), CorruptError, ["multiples of 8"]),
    ("metadata 0", lambda s: s.patched_index(s.array("metadata_lengths"), u32(0)), CorruptError, ["record batch 0"]),
    ("metadata negative", lambda s: s.patched_index(s.array("metadata_lengths"), u32(2**31)), CorruptError, ["-21474"]),
    # what must agree
    (
        "template unreadable",
        lambda s: s.patched_index(s.array("footer_template"), b"\xff" * 4),
        CorruptError,
        ["footer template", "readable flatbuffer"],
    ),
    (
        "template without a note",
        lambda s: s.patched_index(s.raw.index(b"spill_format", s.index), b"SPILL"),
        CorruptError,
        ["footer template", "no room"],
    ),
    ("block offset", lambda s: s.patched(first_block(s), i64(8)), CorruptError, ["disagree on record batch 0", "(8, "]),
    ("block of the third", lambda s: s.patched(-10 - 24, i64(8)), CorruptError, ["record batch 2", "partition 2"]),
    ("block length", lambda s: s.patched(-10 - 8, i64(8)), CorruptError, ["disagree on record batch 2", "partition 2"]),
    ("block padding", lambda s: s.patched(-10 - 12, b"\1"), CorruptError, ["not the one that the index describes"]),
    ("fewer blocks", lambda s: s.patched(first_block(s) - 4, u32(2)), CorruptError, ["record batches in", "found 2"]),
    (
        "absurd blocks",
        lambda s: s.patched(first_block(s) - 4, u32(2**32 - 1)),
        CorruptError,
        ["list of record batches"],
    ),
    (
        "blocks nowhere",
        lambda s: s.patched(footer_field(s, 3), u32(2**32 - 1)),
        CorruptError,
        ["list of record batches"],
    ),
    (
        "marker",
        lambda s: s.patched(s.marker + 4, b"\1"),
        CorruptError,
        ["end-of-stream marker", "ff ff ff ff 01 00 00 00"],
    ),
    ("bytes before the index", index_pushed, CorruptError, ["does not follow the ranges"]),
    ("bytes before the footer", lambda s: s.spliced(s.footer, s.footer, bytes(8)), CorruptError, ["another place"]),
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
    ("header's partitions", lambda s: header_resealed(s, 5, 64), CorruptError, ["disagree", "4, found 5"]),
    ("header's alignment", lambda s: header_resealed(s, 4, 128), CorruptError, ["alignment", "64, found 128"]),
]


@pytest.mark.parametrize(("damage", "error", "fragments"), [c[1:] for c in STRUCTURE], ids=[c[0] for c in STRUCTURE])
def test_opening_says_what_is_wrong(
    sound: Anatomy, tmp_path: Path, damage: Damage, error: type[SpillError], fragments: list[str]
) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(damage(sound))
    with pytest.raises(SpillError) as caught:
        SpillFile(path)
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
