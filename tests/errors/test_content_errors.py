"""Errors of bytes that are no message, footer or stream; those of a whole file are in tests/faults."""

import os
import struct
import sys
from pathlib import Path

from spill_format import CorruptError, SpillFile, TruncatedError
from spill_format.encoder import describe_schema
from spill_format.footer import IndexPlace, encode_footer_frame, encode_place
from spill_format.messages import read_batch_size, read_codec
from spill_format.stream import decode_stream, ranges_within
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import i64
from tests.helpers.spills import FLAT_SCHEMA, flat_batch, write_sample

NOTE = encode_place(1, 0, IndexPlace(1000, 2000, 7))
COMPRESSED_WITH_9 = struct.pack(
    # A Message, its header a RecordBatch, its compression a BodyCompression of codec 9; vtables before tables.
    "<I 5H2x iI 6H iI 3H2x iB3x",
    16, 10, 8, 0, 0, 4, 12, 16, 12, 8, 0, 0, 0, 4, 12, 12, 6, 8, 4, 8, 9,
)  # fmt: skip


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


def decode_damaged(directory: Path) -> object:
    sound = Anatomy.of(write_sample(directory / "a.arrow"))
    stream = sound.raw[8 : sound.offsets[1] - 64] + b"\xff\xff\xff\xff\0\0\0\0"
    return decode_stream(stream, "http://host/a.arrow")


TABLE: list[Row] = [
    Raised(TruncatedError, "the file was cut short while it was opened: expected", cut_while_opened),
    Raised(
        TruncatedError,
        "http://host/a.arrow/partitions/3, offset 8: the stream has no",
        lambda _: ranges_within(b"\xff\xff\xff\xff\x08\0\0\0 cut off", "http://host/a.arrow/partitions/3"),
    ),
    Raised(CorruptError, "http://host/a.arrow: a record batch cannot be decoded (…)", decode_damaged),
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
