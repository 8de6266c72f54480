"""Errors of bytes that are no message or footer; those of a whole file are in tests/faults/test_corrupt_files.py."""

from pathlib import Path

from spill_format.encoder import describe_schema
from spill_format.footer import encode_footer_frame
from spill_format.messages import read_batch_size, read_codec
from tests.errors.damage import (
    COMPRESSED_WITH_9,
    NOTE,
    without_blocks,
)
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.forgeries import i64
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

TABLE: list[Row] = [
    Raised(ValueError, "the message has no header", lambda _: read_batch_size(bytes(16))),
    Raised(
        ValueError,
        "the message claims -4 rows and a body of … bytes",
        lambda _: read_batch_size(bytes(flat_batch(4).serialize()).replace(i64(4), i64(-4))),
    ),
    Raised(
        ValueError,
        "the record batch is compressed with an unknown codec, number 9",
        lambda _: read_codec(bytes(8) + COMPRESSED_WITH_9),
    ),
    Raised(
        ValueError,
        "the footer template has no record batch blocks to replace",
        lambda _: encode_footer_frame(without_blocks(describe_schema(FLAT_SCHEMA)[1]), NOTE, 1),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
