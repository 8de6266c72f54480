"""Errors of reading, checking and repairing what files hold, and of streams, targets and types."""

from pathlib import Path

from spill_format import (
    ChecksumError,
    CorruptError,
    NotPartitionedError,
    TruncatedError,
)
from tests.errors.damage import (
    change_while_repaired,
    compact,
    cut_while_opened,
    damaged,
    decode,
    read,
    repair_beside,
    stream,
    verify_deeply,
)
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.forgeries import (
    arrow_file_without_index,
    i64,
    range_forged,
    with_flatbuffer,
)

TABLE: list[Row] = [
    Raised(
        CorruptError,
        "the record batch cannot be decoded (…)",
        damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: f.replace(i64(4), i64(2**62)))), compact),
    ),
    Raised(
        CorruptError,
        "the record batch has no seal",
        damaged(lambda s: s.patched(s.raw.index(b"SEAL"), b"seal"), compact),
    ),
    Raised(
        CorruptError,
        "the record batch cannot be decoded (…)",
        damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: b"\xff" * len(f))), read),
    ),
    Raised(
        CorruptError, "the record batch has no seal", damaged(lambda s: s.patched(s.raw.index(b"SEAL"), b"seal"), read)
    ),
    Raised(TruncatedError, "the file was cut short while it was opened: expected", cut_while_opened),
    Raised(
        CorruptError,
        "the record batch cannot be decoded (…)",
        damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: b"\xff" * len(f))), verify_deeply),
    ),
    Raised(
        CorruptError,
        "the record batch has no seal",
        damaged(lambda s: range_forged(s, 2, lambda m: m.replace(b"SEAL", b"seal")), verify_deeply),
    ),
    Raised(ChecksumError, "the record batch changed while the file was repaired; repair a", change_while_repaired),
    Raised(
        NotPartitionedError,
        "an Arrow file without seals and without an index, so that",
        damaged(arrow_file_without_index, repair_beside),
    ),
    Raised(
        TruncatedError,
        "http://host/a.arrow/partitions/3, offset 8: the stream has no",
        stream(b"\xff\xff\xff\xff\x08\0\0\0 cut off"),
    ),
    Raised(
        CorruptError,
        "http://host/a.arrow: a record batch cannot be decoded (…)",
        damaged(lambda s: s.raw[8 : s.offsets[1] - 64] + b"\xff\xff\xff\xff\0\0\0\0", decode),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
