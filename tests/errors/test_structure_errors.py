"""Errors of opening a file: the place in it, what is expected and what is there, and that it can be repaired."""

from pathlib import Path

from spill_format import (
    ChecksumError,
    CorruptError,
)
from spill_format.framing import encode_footer_frame, read_batch_size, read_codec
from spill_format.writer import describe_schema
from tests.errors.damage import (
    COMPRESSED_WITH_9,
    NOTE,
    damaged,
    without_blocks,
)
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.forgeries import (
    first_block,
    header_resealed,
    i64,
    u32,
)
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

TABLE: list[Row] = [
    Raised(
        CorruptError,
        "end-of-stream marker behind the last range",
        damaged(lambda s: s.patched(s.marker + 4, b"\1")),
    ),
    Raised(
        CorruptError,
        "index section: its footer template (…)",
        damaged(lambda s: s.patched_index(s.array("footer_template"), b"\xff" * 4)),
    ),
    Raised(
        CorruptError,
        "record batches in the Arrow footer: expected 3, found 2",
        damaged(lambda s: s.patched(first_block(s) - 4, u32(2))),
    ),
    Raised(CorruptError, "the schema message has no seal", damaged(lambda s: s.patched(s.offsets[0] - 16, b"h"))),
    Raised(
        CorruptError,
        "the schema message's seal and the index disagree on the number",
        damaged(lambda s: header_resealed(s, 5, 64)),
    ),
    Raised(
        CorruptError,
        "index section: number of partitions: expected 1 or more, found 0",
        damaged(lambda s: s.patched_index(s.index + 24, i64(0))),
    ),
    Raised(
        CorruptError,
        "index section: alignment: expected a power of two from 8 to",
        damaged(lambda s: s.patched_index(s.index + 12, u32(48))),
    ),
    Raised(
        CorruptError,
        "index section: magic: expected b'SPILLIDX', found b'XPILLIDX'",
        damaged(lambda s: s.patched(s.index, b"X")),
    ),
    Raised(
        ChecksumError,
        "index section: CRC-32C: expected 34333231, found …",
        damaged(lambda s: s.patched(s.footer - 4, b"1234")),
    ),
    Raised(
        CorruptError,
        "index section: the range is not aligned: expected a multiple of",
        damaged(lambda s: s.patched_index(s.array("offsets") + 32, i64(s.offsets[-1] + 8))),
    ),
    Raised(
        CorruptError,
        "index section: lengths of metadata and body of record batch 0",
        damaged(lambda s: s.patched_index(s.array("metadata_lengths"), u32(0))),
    ),
    Raised(
        CorruptError,
        "index section: body length of record batch 0: expected one that",
        damaged(lambda s: s.patched_index(s.array("body_lengths"), i64(2**63 - 8))),
    ),
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
