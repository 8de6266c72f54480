"""Errors of opening a file: the place in it, what is expected and what is there, and that it can be repaired."""

import os
from pathlib import Path

from spill_format import (
    ChecksumError,
    CorruptError,
    NotPartitionedError,
    SpillError,
    TruncatedError,
    VersionError,
)
from spill_format.framing import encode_footer_frame, read_batch_size, read_codec
from spill_format.writer import describe_schema
from tests.errors.damage import (
    AT,
    COMPRESSED_WITH_9,
    NOTE,
    REPAIR,
    damaged,
    of_another_kind,
    without_blocks,
)
from tests.errors.rows import Elsewhere, Provoked, Raised, Table, each_row
from tests.helpers.forgeries import (
    arrow_file_without_index,
    first_block,
    footer_replaced,
    header_resealed,
    i64,
    index_pushed,
    note_replaced,
    u32,
)
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

TABLE: Table = {
    "spill_format/structure.py": [
        Raised(
            TruncatedError,
            "PATH/a.arrow: the file is empty: expected an Arrow IPC file, found 0 bytes",
            damaged(lambda _: b""),
        ),
        Raised(
            CorruptError,
            r"PATH/a.arrow, offset 0: not an Arrow IPC file: its start: "
            r"expected b'ARROW1\x00\x00', found b'PAR1\x15\x04\x15 '",
            damaged(lambda _: b"PAR1\x15\x04\x15 and so on, as Parquet has it"),
        ),
        Raised(
            TruncatedError,
            "PATH/a.arrow: the file is too short: expected … bytes or more, found 12",
            damaged(lambda s: s.raw[:12]),
        ),
        Raised(
            TruncatedError,
            f"{AT}the file is cut off or was never finished: its end: expected b'ARROW1', found …; {REPAIR}",
            damaged(lambda s: s.raw[:-1]),
        ),
        Raised(
            CorruptError,
            f"{AT}length of the Arrow footer: expected 1 to …, found 0; {REPAIR}",
            damaged(lambda s: s.patched(-10, u32(0))),
        ),
        Raised(
            NotPartitionedError,
            "PATH/a.arrow: an Arrow file without a partition index; "
            "`shuffle partition FILE --by COLUMN --partitions P -o OUT` makes one with it",
            damaged(arrow_file_without_index),
        ),
        Raised(
            CorruptError,
            'PATH/a.arrow: the footer\'s note of the index section: expected {"version":"1.0","offset":0,"length":0}, '
            f"found …; {REPAIR}",
            damaged(lambda s: note_replaced(s, "")),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, offset 8: the footer's note names another place for the index section than the bytes "
            "before the "
            f"footer: expected an end at …, found 8 + 16; {REPAIR}",
            damaged(lambda s: note_replaced(s, '{"version":"1.0","offset":8,"length":16}')),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow: index section: its footer template (…); {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("footer_template"), b"\xff" * 4)),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow: record batches in the Arrow footer: expected 3, found 2; {REPAIR}",
            damaged(lambda s: s.patched(first_block(s) - 4, u32(2))),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 0, offset …: the Arrow footer and the index disagree on record batch 0: "
            f"expected (…), found (8, …); {REPAIR}",
            damaged(lambda s: s.patched(first_block(s), i64(8))),
        ),
        Raised(
            CorruptError,
            f"{AT}the Arrow footer is not the one that the index describes: expected …, found …; {REPAIR}",
            damaged(lambda s: s.patched(-10 - 12, b"\1")),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 3, offset …: the index section does not follow the ranges: "
            f"expected ranges that end at …, found …; {REPAIR}",
            damaged(index_pushed),
        ),
        Raised(
            CorruptError,
            f"{AT}end-of-stream marker behind the last range: expected ff ff ff ff 00 00 00 00, "
            f"found ff ff ff ff 01 00 00 00; {REPAIR}",
            damaged(lambda s: s.patched(s.marker + 4, b"\1")),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, offset 8: the schema message cannot be read (no message starts with …); {REPAIR}",
            damaged(lambda s: s.patched(8, b"\0")),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 0, offset 8: the first range does not follow the schema message: expected 80, "
            f"found …; {REPAIR}",
            damaged(lambda s: s.patched(12, u32(64))),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, offset 8: the schema message has no seal; {REPAIR}",
            damaged(lambda s: s.patched(s.offsets[0] - 16, b"h")),
        ),
        Raised(
            ChecksumError,
            f"PATH/a.arrow, offset 8: CRC-32C of the schema message: expected …, found …; {REPAIR}",
            damaged(lambda s: s.patched(40, b"\x55")),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, offset 8: the schema message's seal and the index disagree on the number of partitions: "
            f"expected 4, found 5; {REPAIR}",
            damaged(lambda s: header_resealed(s, 5, 64)),
        ),
    ],
    "spill_format/storage/local.py": [
        Raised(SpillError, "PATH/a.arrow: a device, pipe or socket, not a file", of_another_kind(os.mkfifo)),
        Elsewhere("…: the file is closed", "shuffle/testing/storages.py::test_a_closed_file_is_not_read"),
        Elsewhere(
            "the file ends too early",
            "tests/spill_format/test_structure.py::test_reading_behind_the_end_says_what_is_missing",
        ),
    ],
    "spill_format/index.py": [
        Raised(
            CorruptError,
            f"{AT}index section: number of partitions: expected 1 or more, found 0; {REPAIR}",
            damaged(lambda s: s.patched_index(s.index + 24, i64(0))),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: its length differs from that of its arrays: expected …, found …; {REPAIR}",
            damaged(lambda s: s.patched_index(s.index + 32, i64(1))),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: alignment: expected a power of two from 8 to 65536, found 48; {REPAIR}",
            damaged(lambda s: s.patched_index(s.index + 12, u32(48))),
        ),
        Raised(
            VersionError,
            f"{AT}version of the format: expected 1.x, found 2.0; the file was written by a newer release; "
            "upgrade to read it",
            damaged(lambda s: s.patched(s.index + 8, b"\2")),
        ),
        Raised(
            TruncatedError,
            f"{AT}index section: its length in bytes: expected … or more, found 0; {REPAIR}",
            damaged(lambda s: note_replaced(s, f'{{"version":"1.0","offset":{s.footer},"length":0}}')),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: magic: expected b'SPILLIDX', found b'XPILLIDX'; {REPAIR}",
            damaged(lambda s: s.patched(s.index, b"X")),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: its length differs from the footer's: expected …, found 8; {REPAIR}",
            damaged(lambda s: s.patched(s.index + 16, i64(8))),
        ),
        Raised(
            ChecksumError,
            f"{AT}index section: CRC-32C: expected 34333231, found …; {REPAIR}",
            damaged(lambda s: s.patched(s.footer - 4, b"1234")),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 1, offset …: index section: the range ends before it starts: expected an "
            "end of … or more, "
            f"found 64; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("offsets") + 16, i64(64))),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 3, offset …: index section: the range is not aligned: expected a multiple of 64, "
            f"found …; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("offsets") + 32, i64(s.offsets[-1] + 8))),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: lengths of metadata and body of record batch 0: expected multiples of 8, for "
            "the metadata "
            f"from … on, found 0 and …; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("metadata_lengths"), u32(0))),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: body length of record batch 0: expected one that ends before 2**63, "
            f"found 9223372036854775800; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("body_lengths"), i64(2**63 - 8))),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 3, offset …: index section: the messages do not fill the range: "
            f"expected one that ends at …, found one that ends at …; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("offsets") + 32, i64(s.offsets[-1] + 64))),
        ),
        Raised(
            CorruptError,
            f"{AT}index section: the messages overrun the ranges: their end: expected …, found …; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("offsets") + 16, i64(*[s.offsets[1]] * 3) + i64(4, 0, 0))),
        ),
    ],
    "spill_format/framing.py": [
        Raised(
            CorruptError,
            f"PATH/a.arrow: the Arrow footer is not a readable flatbuffer (…); {REPAIR}",
            damaged(lambda s: footer_replaced(s, b"\xff" * 400)),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow: the Arrow footer's list of record batches cannot be read (…); {REPAIR}",
            damaged(lambda s: s.patched(first_block(s) - 4, u32(2**32 - 1))),
        ),
        Raised(
            ValueError,
            "the footer template is not a readable flatbuffer",
            lambda _: encode_footer_frame(b"\xff" * 40, "", 1),
        ),
        Raised(ValueError, "the message has no header", lambda _: read_batch_size(bytes(16))),
        Raised(
            ValueError,
            "the message's metadata is not a readable flatbuffer (…)",
            lambda _: read_batch_size(b"\xff" * 64),
        ),
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
        Elsewhere(
            "the footer template has no room for … bytes of index place",
            "tests/spill_format/test_framing.py::test_what_is_no_template_is_refused",
        ),
        Raised(
            ValueError,
            "the footer template has no record batch blocks to replace",
            lambda _: encode_footer_frame(without_blocks(describe_schema(FLAT_SCHEMA)[1]), NOTE, 1),
        ),
        Elsewhere(
            "… record batches do not fit a footer of … bytes; write larger batches",
            "tests/spill_format/test_framing.py::test_a_footer_has_a_limit",
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
