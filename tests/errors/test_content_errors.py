"""Errors of reading, checking and repairing what files hold, and of streams, targets and types."""

from pathlib import Path

from spill_format import (
    CorruptError,
    TruncatedError,
)
from tests.errors.damage import (
    cut_while_opened,
    damaged,
    decode,
    stream,
)
from tests.errors.rows import Raised, Row, each_row

TABLE: list[Row] = [
    Raised(TruncatedError, "the file was cut short while it was opened: expected", cut_while_opened),
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
