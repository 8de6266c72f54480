"""Errors of reading, checking and repairing what files hold, and of streams, targets and types."""

import os
from pathlib import Path

import pyarrow as pa

from shuffle.inspecting.inspection import inspect_file
from shuffle.inspecting.repair import repair
from spill_format import (
    ChecksumError,
    CorruptError,
    NotPartitionedError,
    SpillError,
    SpillFile,
    SpillWriter,
    TargetExistsError,
    TruncatedError,
)
from spill_format.schemas import storage_schema
from spill_format.slices import PartitionSlice
from spill_format.storage.publication import open_pending
from spill_format.stream import check_ranges, decode_stream
from tests.errors.damage import (
    REPAIR,
    change_while_repaired,
    compact,
    cut_while_opened,
    damaged,
    decode,
    forged_original,
    forged_schema,
    of_another_kind,
    read,
    repair_beside,
    stream,
    verify,
    verify_deeply,
    with_length_64,
)
from tests.errors.rows import Elsewhere, Provoked, Raised, Table, Unseen, each_row, elsewhere
from tests.helpers.forgeries import (
    arrow_file_without_index,
    i64,
    range_forged,
    sealed_for,
    u32,
    with_flatbuffer,
)

TABLE: Table = {
    "shuffle/merging/decoding.py": [
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch cannot be decoded (…)",
            damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: f.replace(i64(4), i64(2**62)))), compact),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 0, offset …: the record batch has no seal",
            damaged(lambda s: s.patched(s.raw.index(b"SEAL"), b"seal"), compact),
        ),
        Raised(
            ChecksumError,
            "PATH/a.arrow, partition 2, offset …: CRC-32C of a record batch's metadata: expected …, found …",
            damaged(lambda s: s.patched(s.offsets[2] + 40, b"\xee"), compact),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 0, offset …: length of a record batch's metadata: expected …, found 72",
            damaged(lambda s: range_forged(s, 0, with_length_64), compact),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch was written for another partition: "
            "expected 2, found 1",
            damaged(lambda s: range_forged(s, 2, sealed_for(1)), compact),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, offset 8: the schema message cannot be decoded (…)",
            lambda directory: compact(forged_schema(directory)),
        ),
        Unseen(
            "the sources' ranges changed while they were merged",
            "said where a range that was damaged is sound when it is looked at again",
        ),
    ],
    "shuffle/inspecting/comparison.py": [
        *elsewhere(
            "tests/shuffle/inspecting/test_comparison.py::test_counts_are_compared",
            "numbers of partitions: … in the first, … in the second",
            "… rows in the first, … in the second, which are alike as far as they go",
        ),
        *elsewhere(
            "tests/shuffle/inspecting/test_comparison.py::test_schemas_are_compared", "schemas: in the second …"
        ),
        *elsewhere(
            "tests/shuffle/inspecting/test_comparison.py::test_a_difference_names_values",
            "… in the first, … in the second",
            "this row of the … is missing … times in the other: …",
        ),
    ],
    "spill_format/reader.py": [
        Raised(
            ChecksumError,
            "PATH/a.arrow, partition 2, offset …: CRC-32C of the range of … bytes: expected 00000001, found …; "
            f"{REPAIR}",
            damaged(lambda s: s.patched_index(s.array("crc32c") + 8, u32(1)), verify),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, partition 0, offset …: number of rows of the partition: expected 9, found 4; {REPAIR}",
            damaged(lambda s: s.patched_index(s.array("rows"), i64(9)), read),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, partition 2, offset …: the record batch cannot be decoded (…); {REPAIR}",
            damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: b"\xff" * len(f))), read),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, partition 0, offset …: length of a record batch's metadata: expected …, found 72; {REPAIR}",
            damaged(lambda s: s.patched(s.offsets[0] + 4, u32(64)), read),
        ),
        Raised(
            ChecksumError,
            f"PATH/a.arrow, partition 2, offset …: CRC-32C of a record batch's metadata: expected …, found …; {REPAIR}",
            damaged(lambda s: s.patched(s.offsets[2] + 40, b"\xee"), read),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch was written for another partition: "
            f"expected 2, found 1; {REPAIR}",
            damaged(lambda s: range_forged(s, 2, sealed_for(1)), read),
        ),
        Raised(
            CorruptError,
            f"PATH/a.arrow, partition 0, offset …: the record batch has no seal; {REPAIR}",
            damaged(lambda s: s.patched(s.raw.index(b"SEAL"), b"seal"), read),
        ),
        Raised(
            TruncatedError,
            "PATH/a.arrow: the file was cut short while it was opened: expected … bytes, found 1000; open it "
            "when nobody "
            "writes to it",
            cut_while_opened,
        ),
        Raised(
            IndexError,
            "PATH/a.arrow: partition 0 has 2 batches: there are no batches 2 to 2",
            damaged(lambda s: s.raw, lambda path: SpillFile(path).read_slice(PartitionSlice(0, 2, 3, 0))),
        ),
    ],
    "spill_format/description.py": [
        Raised(
            CorruptError,
            "PATH/a.arrow, offset 8: the schema message cannot be decoded (…)",
            lambda directory: SpillFile(forged_original(directory)),
        ),
    ],
    "spill_format/schemas.py": [
        Elsewhere(
            "the original schema in the metadata is not one of the columns that are stored",
            "tests/faults/test_corrupt_ranges.py::test_a_schema_that_contradicts_its_original_is_corruption",
        ),
        Raised(
            TypeError,
            "dictionary-encoded values inside run_end_encoded<…> cannot be stored; decode them first",
            lambda _: storage_schema(
                pa.schema([("c", pa.run_end_encoded(pa.int32(), pa.dictionary(pa.int8(), pa.string())))])
            ),
        ),
        Raised(
            TypeError,
            "column c: dictionary<values=extension<arrow.uuid>, indices=int8, ordered=0> cannot be stored; decode its "
            "dictionaries first",
            lambda _: storage_schema(pa.schema([("c", pa.dictionary(pa.int8(), pa.uuid()))])),
        ),
    ],
    "shuffle/inspecting/range_check.py": [
        Raised(
            ChecksumError,
            "PATH/a.arrow, partition 2, offset …: CRC-32C of the range of … bytes: expected 00000001, found …",
            damaged(lambda s: s.patched_index(s.array("crc32c") + 8, u32(1)), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 0, offset …: number of rows of the partition: expected 9, found 4",
            damaged(lambda s: s.patched_index(s.array("rows"), i64(9)), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch was written for another partition: expected "
            "2, found 1",
            damaged(lambda s: range_forged(s, 2, sealed_for(1)), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch cannot be decoded (…)",
            damaged(lambda s: range_forged(s, 2, with_flatbuffer(lambda f: b"\xff" * len(f))), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: length of a record batch's metadata: expected …, found 72",
            damaged(lambda s: range_forged(s, 2, lambda m: m[:4] + u32(64) + m[8:]), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: the record batch has no seal",
            damaged(lambda s: range_forged(s, 2, lambda m: m.replace(b"SEAL", b"seal")), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: CRC-32C of a record batch's metadata: expected …, found …",
            damaged(lambda s: range_forged(s, 2, lambda m: m[:40] + b"\xee" + m[41:]), verify_deeply),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow, partition 2, offset …: CRC-32C of a record batch's body: expected …, found …",
            damaged(lambda s: range_forged(s, 2, lambda m: m[:-1] + b"\xee"), verify_deeply),
        ),
        Elsewhere(
            "the schema message cannot be decoded (…)",
            "tests/faults/test_corrupt_ranges.py::test_an_original_schema_that_is_none_is_corruption",
        ),
    ],
    "shuffle/inspecting/inspection.py": [
        Raised(
            SpillError, "PATH/a.arrow: a device, pipe or socket, not a file", of_another_kind(os.mkfifo, inspect_file)
        ),
        Raised(
            SpillError,
            "PATH/a.arrow: not an Arrow IPC file: its start and end: expected b'ARROW1', found (b'PAR1ab', b'dePAR1')",
            damaged(lambda _: b"PAR1abcdePAR1", inspect_file),
        ),
    ],
    "shuffle/inspecting/repair.py": [
        Raised(
            TargetExistsError,
            "PATH/a.arrow: a file is never repaired in place; choose another name",
            damaged(lambda s: s.raw, lambda path: repair(path, path, overwrite=True)),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow: nothing can be recovered: no record batch is whole",
            damaged(lambda s: s.raw[: s.offsets[0]], repair_beside),
        ),
        Raised(
            SpillError, "PATH/a.arrow: a device, pipe or socket, not a file", of_another_kind(os.mkfifo, repair_beside)
        ),
        Raised(
            ChecksumError,
            "PATH/a.arrow, partition 2, offset …: the record batch changed while the file was repaired; repair a "
            "copy that "
            "nobody writes to",
            change_while_repaired,
        ),
    ],
    "spill_format/salvage.py": [
        Raised(
            NotPartitionedError,
            "PATH/a.arrow: an Arrow file without seals and without an index, so that nothing tells its record "
            "batches from "
            "damage; only files that were written partitioned can be repaired",
            damaged(arrow_file_without_index, repair_beside),
        ),
        Raised(
            CorruptError,
            "PATH/a.arrow: nothing can be recovered: header, index and footer, which have the schema, are all "
            "damaged or missing",
            damaged(lambda s: s.raw[:100], repair_beside),
        ),
    ],
    "spill_format/stream.py": [
        Raised(
            CorruptError,
            "http://host/a.arrow/partitions/3, offset 0: not an Arrow stream (no message starts with 3c 68 74 6d "
            "6c 3e 20 20)",
            stream(b"<html>  "),
        ),
        Raised(
            TruncatedError,
            "http://host/a.arrow/partitions/3, offset 8: the stream has no end-of-stream marker",
            stream(b"\xff\xff\xff\xff\x08\0\0\0 cut off"),
        ),
        Raised(
            ChecksumError,
            "http://host/a.arrow, partition 3: CRC-32C of the 4 bytes that arrived: expected 00000001, found 92c80a31",
            lambda _: check_ranges(b"abcd", 1, "http://host/a.arrow", 3),
        ),
        Raised(
            CorruptError,
            "http://host/a.arrow, offset 0: the schema message cannot be decoded (…)",
            lambda _: decode_stream(b"\xff\xff\xff\xff\x08\0\0\0" + bytes(8), "http://host/a.arrow"),
        ),
        Raised(
            CorruptError,
            "http://host/a.arrow: a record batch cannot be decoded (…)",
            damaged(lambda s: s.raw[8 : s.offsets[1] - 64] + b"\xff\xff\xff\xff\0\0\0\0", decode),
        ),
    ],
    "spill_format/storage/remote.py": [
        Elsewhere("…: the file is closed", "shuffle/testing/storages.py::test_a_closed_file_is_not_read"),
        Elsewhere("the file ends too early", "tests/spill_format/test_remote.py::test_a_shorter_file_ends_too_early"),
        Elsewhere(
            "the file system answered a range read with another number of bytes",
            "tests/spill_format/test_remote.py::test_a_file_that_is_replaced_between_reads_is_not_mixed",
        ),
    ],
    "spill_format/storage/publication.py": [
        Raised(
            TargetExistsError,
            "PATH/a.arrow: the target already exists; choose another name, or replace it with --overwrite or "
            "overwrite=True",
            damaged(lambda s: s.raw, lambda path: SpillWriter(path, pa.schema([]), 1)),
        ),
        Raised(
            TargetExistsError,
            "PATH/a.arrow: a device, pipe or socket, which is never replaced; choose another name",
            of_another_kind(os.mkfifo, lambda path: open_pending(path, overwrite=True)),
        ),
        Elsewhere(
            "…: already published or discarded",
            "tests/spill_format/storage/test_publication.py::test_after_the_end_there_is_no_descriptor_and_no_second_publication",
        ),
        Elsewhere(
            "published, but syncing its directory failed, so a power cut may undo it: …",
            "tests/crash/test_publication.py::test_whatever_call_fails_the_error_is_told_and_the_target_is_as_it_was",
        ),
        Elsewhere(
            "the file system has neither hard links nor a rename that never replaces; overwriting alone would work",
            "tests/crash/test_publication.py::test_where_nothing_can_refuse_to_replace_the_error_says_so",
        ),
    ],
    "spill_format/writer.py": [
        Unseen(
            "the file takes no further bytes and gives no error",
            "a file whose writev answers 0 is a fault of a kernel that has not been met",
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
