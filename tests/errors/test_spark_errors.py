"""Errors about Spark's own files: which of the three, which partition or chunk, and what may be done."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shuffle import MergeOptions, merge
from shuffle.inspecting.push_repair import repair_pushed, repair_pushed_directory
from shuffle.inspecting.spark_inspection import verify_output
from shuffle.merging.formats.spark import SparkFormat
from shuffle.merging.push_merge import merge_pushed
from shuffle.testing import write_output
from shuffle.warning import ShuffleWarning
from spill_format import ChecksumError, CorruptError, SpillError, TargetExistsError, TruncatedError
from spill_format.spark.codecs import check_concatenable
from spill_format.spark.discovery import find_outputs
from spill_format.spark.outputs import index_path_of, paths_beside, read_checksums, read_output
from spill_format.spark.pushed import read_pushed
from tests.errors.rows import Provoked, Raised, Table, each_row, elsewhere
from tests.helpers.spark_files import write_pushed, write_spark
from tests.helpers.spills import random_spill

RANGES = [b"abc", b"", b"defghij"]
SCANNED = (
    "tests/spill_format/spark/test_pushed_scan.py::test_damaged_chunks_are_told_and_those_before_the_first_are_sound"
)


def offsets(*values: int) -> bytes:
    return struct.pack(f">{len(values)}q", *values)


def damaged(suffix: str, content: bytes | None) -> Callable[[Path], object]:
    """What reads an output one of whose files has another content, or is not there."""

    def provoke(directory: Path) -> object:
        path = write_spark(directory / "a.data", RANGES).with_suffix(suffix)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return read_output(paths_beside(directory / "a.data"))

    return provoke


def outputs_in(directory: Path) -> Path:
    """Two outputs of shuffle 3, the second without checksums, and one of shuffle 4."""
    root = directory / "blockmgr-7"
    root.mkdir()
    write_spark(root / "shuffle_3_0_0.data", RANGES)
    write_spark(root / "shuffle_3_1_0.data", RANGES, None)
    write_spark(root / "shuffle_4_0_0.data", RANGES)
    return root


def merging(*names: str, **choices: Any) -> Callable[[Path], object]:
    """What merges outputs of these names."""

    def provoke(directory: Path) -> object:
        outputs_in(directory)
        (directory / "blockmgr-9").mkdir()
        random_spill(directory / "a.spill.arrow", [1, 2, 3])
        return merge([directory / name for name in names], directory / "m.data", **choices)

    return provoke


def pushing(*names: str, **arguments: Any) -> Callable[[Path], object]:
    """What merges outputs of these names into the push-based layout."""

    def provoke(directory: Path) -> object:
        (directory / "merged").mkdir()
        sources = [write_spark(directory / name, RANGES) for name in names]
        return merge_pushed(sources, directory / "merged", application="a", **arguments)

    return provoke


def pipe_in_place_of_data(directory: Path) -> object:
    write_spark(directory / "a.data", RANGES).unlink()
    os.mkfifo(directory / "a.data")
    return read_output(paths_beside(directory / "a.data"))


def verify_changed(directory: Path) -> None:
    path = write_spark(directory / "a.data", RANGES)
    path.write_bytes(b"abcdefghiJ")
    damage = verify_output(paths_beside(path)).first_damage
    assert damage is not None
    raise damage


def read_cut_chunk(directory: Path) -> object:
    pushed = read_pushed(write_pushed(directory / "a.data", [([0], b"abc")]))
    os.truncate(directory / "a.data", 0)
    return pushed.read(0)


def repair_hopeless(directory: Path) -> object:
    path = write_pushed(directory / "a.data", [([0], b"abc")])
    path.write_bytes(b"")
    return repair_pushed(path, directory / "b.data")


def repair_directory(files: str, *existing: str) -> Callable[[Path], object]:
    """What repairs a directory of one merged partition into another one."""

    def provoke(directory: Path) -> object:
        for name in ("merged", "repaired"):
            (directory / name).mkdir()
        path = write_pushed(directory / "merged" / "shuffleMerged_a_3_0_0.data", [([0], b"abc")])
        if files == "hopeless":
            path.write_bytes(b"")
        for name in existing:
            (directory / "repaired" / name).touch()
        return repair_pushed_directory(directory / "merged", directory / "repaired")

    return provoke


def repair_in_place(directory: Path) -> object:
    path = write_pushed(directory / "a.data", [([0], b"abc")])
    return repair_pushed(path, path)


def write_beside_an_index(directory: Path) -> object:
    (directory / "a.index").touch()
    return write_output(directory / "a.data", RANGES)


def find_twice(directory: Path) -> object:
    for root in ("blockmgr-1", "blockmgr-2"):
        (directory / root).mkdir()
        write_spark(directory / root / "shuffle_3_0_0.data", RANGES)
    return find_outputs([directory])


TABLE: Table = {
    "spill_format/spark/outputs.py": [
        Raised(
            TruncatedError,
            "PATH/a.index: length of the index: expected 8 bytes for each of two or more offsets, found 8",
            damaged(".index", offsets(0)),
        ),
        Raised(
            CorruptError,
            "PATH/a.index, offset 0: the first offset of the index: expected 0, found 1",
            damaged(".index", offsets(1, 3, 3, 10)),
        ),
        Raised(
            CorruptError,
            "PATH/a.index, partition 1, offset 16: the index says that the range ends before it starts: "
            "expected an end of 5 or more, found 3",
            damaged(".index", offsets(0, 5, 3, 10)),
        ),
        Raised(
            CorruptError,
            "PATH/a.checksum.MD5: the algorithm of its checksums: expected one of ADLER32, CRC32, CRC32C, found MD5",
            lambda directory: read_checksums(directory / "a.checksum.MD5", 3),
        ),
        Raised(
            TruncatedError,
            "PATH/a.checksum.ADLER32: bytes for the checksums of 3 partitions: expected 24, found 16",
            damaged(".checksum.ADLER32", offsets(1, 1)),
        ),
        Raised(
            CorruptError,
            "PATH/a.checksum.ADLER32, partition 1, offset 8: a number that is no checksum: "
            "expected 0 to 2**32 - 1, found -1",
            damaged(".checksum.ADLER32", offsets(1, -1, 1)),
        ),
        Raised(
            CorruptError,
            "PATH/a.data: data without an index: of an output that was not finished",
            damaged(".index", None),
        ),
        Raised(
            FileNotFoundError,
            "[Errno 2] neither data nor index is there: 'PATH/a.data'",
            lambda directory: read_output(paths_beside(directory / "a.data")),
        ),
        Raised(
            TruncatedError,
            "PATH/a.index: the index has no data file: expected PATH/a.data of 10 bytes, found none",
            damaged(".data", None),
        ),
        Raised(
            TruncatedError,
            "PATH/a.data: size of the data file, which is the last offset of its index: expected 10, found 9",
            damaged(".data", b"abcdefghi"),
        ),
        Raised(
            ValueError,
            "the name of a data file in Spark's layout ends with .data: PATH/a.arrow",
            lambda directory: index_path_of(directory / "a.arrow"),
        ),
    ],
    "spill_format/spark/codecs.py": [
        Raised(
            ValueError,
            "encrypted ranges cannot be merged without decrypting them: each begins with an initialization "
            "vector of its "
            "own, and a reader takes only the first; let Spark read them, or write them unencrypted",
            lambda _: check_concatenable("encrypted"),
        ),
        Raised(
            ValueError,
            "ranges compressed with org.example.Deflate cannot be merged without decoding them: only of lz4, "
            "lzf, none, "
            "snappy, zstd is it known that a reader goes on behind the end of the first stream; "
            "set spark.io.compression.codec to one of these",
            lambda _: check_concatenable("org.example.Deflate"),
        ),
    ],
    "spill_format/spark/discovery.py": [
        Raised(
            SpillError,
            "PATH/blockmgr-2/shuffle_3_0_0.…: the same output is also in PATH/blockmgr-1/shuffle_3_0_0.…; "
            "give the roots of one application",
            find_twice,
        ),
    ],
    "spill_format/storage/local.py": [
        Raised(SpillError, "PATH/a.data: a device, pipe or socket, not a file", pipe_in_place_of_data),
    ],
    "spill_format/spark/publication.py": [
        Raised(
            TargetExistsError,
            "PATH/a.index: the target already exists; choose another name, or replace it with --overwrite or "
            "overwrite=True",
            write_beside_an_index,
        ),
    ],
    "shuffle/testing/spark.py": [
        Raised(
            ValueError,
            "an output has one partition or more, but there are no ranges",
            lambda directory: write_output(directory / "a.data", []),
        ),
        Raised(
            ValueError,
            "checksums are of ADLER32, CRC32, CRC32C or None, not of 'MD5'",
            lambda directory: write_output(directory / "a.data", RANGES, algorithm="MD5"),
        ),
    ],
    "spill_format/spark/pushed_scan.py": [
        Raised(
            TruncatedError,
            "PATH/a.data, offset 0: bytes of chunk 0: expected 3, found 0",
            read_cut_chunk,
        ),
        *elsewhere(
            "tests/shuffle/cli/test_spark_push.py::test_without_pyroaring_it_is_said_what_to_install",
            "the push-based layout needs pyroaring: pip install 'shuffle-merge[spark]'",
        ),
        *elsewhere(
            "tests/spill_format/spark/test_pushed.py::test_chunks_and_their_maps_are_read", "no chunk …: there are …"
        ),
        *elsewhere(
            SCANNED,
            "there is no index: of a partition that was not finished",
            "length of the index",
            "the first offset of the index",
            "the index says that chunk … ends before it starts",
            "there is no file of bitmaps",
            "number of bitmaps, one for each chunk of the index",
            "the bitmap of chunk … is cut off or damaged",
            "chunk … of … bytes cannot have … maps",
            "map … of chunk … is in an earlier chunk, too",
            "the index has no data file",
            "size of the data, the last offset of its index",
        ),
    ],
    "shuffle/inspecting/spark_inspection.py": [
        Raised(
            ChecksumError,
            "PATH/a.data, partition 2, offset 3: ADLER32 of the range of 7 bytes: expected …, found …",
            verify_changed,
        ),
    ],
    "shuffle/merging/formats/__init__.py": [
        Raised(
            ValueError,
            "the format must be auto, arrow or spark, not 'parquet'",
            merging("blockmgr-7", file_format="parquet"),
        ),
        Raised(
            ValueError,
            "Spark's files and Arrow files cannot be merged: PATH/blockmgr-7 and PATH/a.spill.arrow",
            merging("blockmgr-7", "a.spill.arrow"),
        ),
    ],
    "shuffle/merging/formats/spark.py": [
        Raised(
            ValueError,
            "a directory (PATH/blockmgr-7) holds a file that is also given by its name",
            merging("blockmgr-7", "blockmgr-7/shuffle_3_0_0.data", file_format=SparkFormat(shuffle=3)),
        ),
        Raised(
            ValueError,
            "no outputs of any shuffle: looked for shuffle_*_*_*.index below PATH/blockmgr-9",
            merging("blockmgr-9"),
        ),
        Raised(
            ValueError,
            "no outputs of shuffle 5: looked for shuffle_*_*_*.index below PATH/blockmgr-7",
            merging("blockmgr-7", file_format=SparkFormat(shuffle=5)),
        ),
        Raised(
            ValueError,
            "outputs of several shuffles (3, 4) below PATH/blockmgr-7: say which one with --shuffle or "
            "SparkFormat(shuffle=…)",
            merging("blockmgr-7"),
        ),
        Raised(
            ShuffleWarning,
            "the target gets no checksums: PATH/blockmgr-7/shuffle_3_1_0.data has none of ADLER32, as other "
            "sources have",
            merging("blockmgr-7", file_format=SparkFormat(shuffle=3)),
        ),
    ],
    "shuffle/merging/merge.py": [
        Raised(
            ValueError,
            "PATH/blockmgr-7/shuffle_3_0_0.data: Spark's bytes are never decoded here, so they cannot be compacted: "
            "leave compact off",
            merging("blockmgr-7", file_format=SparkFormat(shuffle=3), options=MergeOptions(compact=True)),
        ),
    ],
    "shuffle/inspecting/push_repair.py": [
        Raised(CorruptError, "PATH/a.data: nothing can be recovered: no chunk is whole; …", repair_hopeless),
        Raised(
            CorruptError,
            "PATH/merged: nothing can be recovered: no chunk of any merged partition is whole",
            repair_directory("hopeless"),
        ),
        Raised(
            TargetExistsError,
            "PATH/repaired/shuffleMerged_a_3_0_0.meta: the target already exists; choose another name, or replace it "
            "with --overwrite or overwrite=True",
            repair_directory("sound", "shuffleMerged_a_3_0_0.meta"),
        ),
        Raised(
            TargetExistsError, "PATH/a.data: a file is never repaired in place; choose another name", repair_in_place
        ),
    ],
    "shuffle/merging/push_merge.py": [
        Raised(
            ValueError,
            "application is part of the names of files, and cannot be 'a/b'",
            lambda directory: merge_pushed([], directory, application="a/b"),
        ),
        Raised(
            ValueError,
            "Spark's bytes are never decoded here, so they cannot be compacted: leave compact off",
            pushing(options=MergeOptions(compact=True)),
        ),
        Raised(ValueError, "chunk_bytes must be 1 or more, not 0", pushing(chunk_bytes=0)),
        Raised(ValueError, "merge_id must be 0 or more, not -1", pushing(merge_id=-1)),
        Raised(
            ValueError,
            "sources of a push-based merge are never deleted: leave delete_sources off",
            pushing(options=MergeOptions(delete_sources=True)),
        ),
        Raised(
            ValueError,
            "PATH/spill-0.data: the name does not tell the map, as shuffle_0_7_0.data does",
            pushing("spill-0.data"),
        ),
        Raised(
            ValueError,
            "PATH/shuffle_4_4294967296_0.data: a bitmap holds maps up to 4294967295, not 4294967296",
            pushing("shuffle_4_4294967296_0.data"),
        ),
        Raised(
            ValueError,
            "sources of one shuffle are needed; they are of 3, 4",
            pushing("shuffle_3_0_0.data", "shuffle_4_0_0.data"),
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
