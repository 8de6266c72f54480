"""Errors of wrong arguments: what was given is told, and what may be given."""

from pathlib import Path

import numpy as np
import pyarrow as pa

import shuffle
import spill_format
from shuffle import (
    FetchOptions,
    HashPartitioner,
    MapOptions,
    MapWriter,
    MergeOptions,
    ServeOptions,
    run,
)
from shuffle.reduce import read_partition
from spill_format import PartitionLayout, SpillFile, SpillWriter
from spill_format.framing import check_alignment, encode_header, metadata_length_of
from spill_format.index import PartitionIndex
from tests.errors.rows import Elsewhere, Provoked, Raised, Row, Table, each_row, wrong
from tests.helpers.spills import SCHEMA, random_spill

ROWS = pa.table({"key": [1, 2], "text": ["a", "b"]})
OTHER = pa.table({"other": [1]})


def spill_in(directory: Path) -> SpillFile:
    return SpillFile(random_spill(directory / "a.arrow", [1, 2]))


def closed_spill(directory: Path) -> SpillFile:
    with spill_in(directory) as spill:
        return spill


def writer_in(directory: Path) -> SpillWriter:
    return SpillWriter(directory / "a.arrow", SCHEMA, 4)


def write_in_order(directory: Path, *partitions: int, rows: object = ROWS) -> None:
    with writer_in(directory) as writer:
        for partition in partitions:
            writer.write(partition, rows)


def write_after_closing(directory: Path) -> None:
    writer = writer_in(directory)
    writer.close()
    writer.write(0, ROWS)


def mapper_in(directory: Path) -> MapWriter:
    return MapWriter(directory / "a.arrow", ROWS.schema, HashPartitioner(["key"], 4))


def write_mapped(directory: Path, rows: object) -> None:
    with mapper_in(directory) as mapper:
        mapper.write(rows)


def write_mapped_after_closing(directory: Path) -> None:
    mapper = mapper_in(directory)
    mapper.close()
    mapper.write(ROWS)


def offsets(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


OPTIONS: dict[str, list[Row]] = {
    "spill_format/__init__.py": [
        Raised(AttributeError, "module 'spill_format' has no attribute 'Spil'", lambda _: spill_format.Spil),
    ],
    "shuffle/__init__.py": [
        Raised(AttributeError, "module 'shuffle' has no attribute 'marge'", lambda _: shuffle.marge),
    ],
    "shuffle/options.py": [
        Raised(
            ValueError,
            "a compacting merge decodes, so that nothing is copied with method sendfile",
            lambda _: MergeOptions(compact=True, method="sendfile"),
        ),
        Raised(
            ValueError,
            "spills_only makes no target, so verify has nothing to do: leave it to the merge",
            lambda _: MapOptions(spills_only=True, verify=True),
        ),
        Raised(
            ValueError,
            "spills_only makes no target, so method has nothing to do: leave it to the merge",
            lambda _: MapOptions(spills_only=True, method="gather"),
        ),
        Raised(
            ValueError,
            "memory_bytes is the memory of a compacting merge, and compact is off",
            lambda _: MergeOptions(memory_bytes="1GiB"),
        ),
        Raised(
            ValueError,
            "method sendfile copies inside the kernel, and transfer_to is off",
            lambda _: MergeOptions(method="sendfile", transfer_to="off"),
        ),
        Raised(
            ValueError,
            "compression must be None, lz4 or zstd, not 'gzip'",
            lambda _: MapOptions(compression=wrong("gzip")),
        ),
        Raised(
            TypeError,
            "spill_directories takes several, in a list: not '/tmp'",
            lambda _: MapOptions(spill_directories="/tmp"),
        ),
        Raised(
            ValueError,
            "the token is empty, which protects nothing; None serves without one",
            lambda _: ServeOptions(token=" "),
        ),
        Raised(
            ValueError,
            "a key or an authority of clients is of no use without a certificate: give that, too",
            lambda _: ServeOptions(key="key.pem"),
        ),
    ],
    "shuffle/option_kinds.py": [
        Raised(
            ValueError,
            "memory_bytes: '1MB' is not a size: give bytes, or a number with KiB, MiB, GiB or TiB, as in 256MiB",
            lambda _: MapOptions(memory_bytes="1MB"),
        ),
        Raised(
            TypeError,
            "memory_bytes: None is not a size: give bytes, or text with KiB, MiB, GiB or TiB, as in '256MiB'",
            lambda _: MapOptions(memory_bytes=wrong(None)),
        ),
        Raised(
            ValueError,
            "alignment: '1.5' is not a whole number of bytes",
            lambda _: MapOptions(alignment="1.5"),
        ),
        Raised(
            ValueError,
            "memory_bytes must be a size of 1048576 bytes or more, not 1000",
            lambda _: MapOptions(memory_bytes=1000),
        ),
        Raised(TypeError, "threads must be a whole number, not '2'", lambda _: MergeOptions(threads=wrong("2"))),
        Raised(ValueError, "attempts must be 1 or more, not 0", lambda _: FetchOptions(attempts=0)),
        Raised(
            TypeError,
            "timeout_seconds must be a number of seconds, not '1'",
            lambda _: FetchOptions(timeout_seconds=wrong("1")),
        ),
        Raised(
            ValueError,
            "idle_seconds must be more than 0 and finite, not inf",
            lambda _: ServeOptions(idle_seconds=float("inf")),
        ),
        Raised(TypeError, "verify must be True or False, not 1", lambda _: MergeOptions(verify=wrong(1))),
        Raised(
            ValueError,
            "method must be one of auto, clone, copy_file_range, sendfile, gather, buffered, not 'magic'",
            lambda _: MergeOptions(method=wrong("magic")),
        ),
        Raised(
            TypeError,
            "options must be a MapOptions, not MergeOptions(…)",
            lambda directory: MapWriter(directory, ROWS.schema, wrong(None), wrong(MergeOptions())),
        ),
        Raised(
            TypeError,
            "there is no option 'delete_sources' here; the options are memory_bytes, …",
            lambda directory: MapWriter(directory, ROWS.schema, wrong(None), **wrong({"delete_sources": True})),
        ),
    ],
    "shuffle/jobs/job.py": [
        Raised(
            ValueError,
            "spills_only leaves map tasks without outputs, which run merges and reduces",
            lambda _: run(
                [], wrong(None), HashPartitioner("key", 2), wrong(None), options=MapOptions(spills_only=True)
            ),
        ),
    ],
    "shuffle/reduce.py": [
        Raised(
            ValueError,
            "prefetch_bytes and threads must be 1 or more, not 0 and 2",
            lambda _: read_partition([], 0, prefetch_bytes=0, threads=2),
        ),
        Raised(ValueError, "there are no files to read", lambda _: read_partition([], 0)),
        Elsewhere("other columns than … has: …", "tests/shuffle/test_reduce.py::test_a_file_of_other_columns_is_named"),
    ],
    "shuffle/mapping/map_writer.py": [
        Raised(
            TypeError,
            "schema must be a pyarrow.Schema, not ['key']",
            lambda directory: MapWriter(directory / "a.arrow", wrong(["key"]), HashPartitioner(["key"], 4)),
        ),
        Raised(ValueError, "PATH/a.arrow: the writer is closed", write_mapped_after_closing),
        Raised(
            TypeError,
            "rows come as a pyarrow.RecordBatch or Table, not as list",
            lambda directory: write_mapped(directory, []),
        ),
        Raised(
            ValueError,
            "the rows have another schema than the writer: no column key, text and a further column other",
            lambda directory: write_mapped(directory, OTHER),
        ),
    ],
}

FORMAT: dict[str, list[Row]] = {
    "spill_format/layout.py": [
        Raised(
            ValueError,
            "partition 0: the first range starts before the file: expected an offset of 0 or more, found -8",
            lambda _: PartitionLayout(offsets(-8, 8)),
        ),
        Raised(
            ValueError,
            "partition 0: the row count is negative: expected 0 or more, found -1",
            lambda _: PartitionLayout(offsets(0, 8), offsets(-1)),
        ),
        Raised(
            ValueError,
            "partition 1: the row count is absurd: expected fewer than 2**63 in the file, found 9223372036854775807",
            lambda _: PartitionLayout(offsets(0, 8, 16), offsets(1, 2**63 - 1)),
        ),
        Raised(
            ValueError,
            "partition 0: the range is empty but has rows: expected 0 rows, found 5",
            lambda _: PartitionLayout(offsets(0, 0), offsets(5)),
        ),
        Raised(TypeError, "offsets must be a numpy array, not list", lambda _: PartitionLayout(wrong([0, 1]))),
        Raised(ValueError, "offsets must be int64, not float64", lambda _: PartitionLayout(wrong(np.zeros(2)))),
        Raised(
            ValueError,
            "offsets must be int64[P + 1] with P ≥ 1, not of shape (1,)",
            lambda _: PartitionLayout(offsets(0)),
        ),
        Raised(
            ValueError,
            "rows must have one value for each of 1 partitions, not be of shape (2,)",
            lambda _: PartitionLayout(offsets(0, 8), offsets(1, 1)),
        ),
        Raised(
            ValueError,
            "partition 1: the range ends before it starts: expected an end of 16 or more, found 8",
            lambda _: PartitionLayout(offsets(0, 16, 8)),
        ),
    ],
    "spill_format/index.py": [
        Raised(
            ValueError,
            "an index section needs the rows and checksums of every partition",
            lambda _: PartitionIndex(PartitionLayout(offsets(0, 8)), 64, offsets(), offsets(), b"").encode(),
        ),
    ],
    "spill_format/framing.py": [
        Raised(TypeError, "the alignment must be an integer, not str", lambda _: check_alignment(wrong("64"))),
        Raised(ValueError, "alignment must be a power of two from 8 to 65536, not 100", lambda _: check_alignment(100)),
        Raised(ValueError, "a message's prefix has 8 bytes, not 3", lambda _: metadata_length_of(b"abc")),
        Raised(
            ValueError,
            "no message starts with 61 62 63 64 65 66 67 68",
            lambda _: metadata_length_of(b"abcdefgh"),
        ),
        Raised(
            ValueError,
            "a schema message without a seal does not say how many partitions there are",
            lambda _: encode_header(bytes(SCHEMA.serialize()), 64),
        ),
    ],
    "spill_format/description.py": [
        Elsewhere(
            "… columns are named …; there are …",
            "tests/spill_format/test_reader.py::test_a_name_of_two_columns_is_ambiguous",
        ),
        Raised(
            IndexError,
            "PATH/a.arrow: partition 2 does not exist: there are 2, from 0",
            lambda directory: spill_in(directory).read(2),
        ),
        Raised(
            IndexError,
            "PATH/a.arrow: partitions 1 to 2 do not exist: there are 2, from 0",
            lambda directory: spill_in(directory).read(1, 3),
        ),
        Raised(
            TypeError,
            "columns takes several names, in a list: not 'key'",
            lambda directory: spill_in(directory).read(0, columns="key"),
        ),
        Raised(
            ValueError,
            "columns must name at least one column; None stands for all",
            lambda directory: spill_in(directory).read(0, columns=[]),
        ),
        Raised(
            ValueError,
            "columns names a column twice: key, key",
            lambda directory: spill_in(directory).read(0, columns=["key", "key"]),
        ),
        Raised(
            ValueError,
            "no column is named 'kye'; there are key, text",
            lambda directory: spill_in(directory).read(0, columns=["kye"]),
        ),
    ],
    "spill_format/reader.py": [
        Raised(
            ValueError,
            "a partition is cut into 1 slice or more, not 0",
            lambda directory: spill_in(directory).slices(0, 0),
        ),
        Raised(ValueError, "PATH/a.arrow: the file is closed", lambda directory: closed_spill(directory).read(0)),
    ],
    "spill_format/writer.py": [
        Raised(
            TypeError,
            "the schema must be a pyarrow.Schema, not list",
            lambda directory: SpillWriter(directory / "a.arrow", [], 4),
        ),
        Raised(
            ValueError,
            "compression must be one of None, 'lz4', 'zstd', not 'gzip'",
            lambda directory: SpillWriter(directory / "a.arrow", SCHEMA, 4, compression=wrong("gzip")),
        ),
        Raised(
            TypeError,
            "rows come as a pyarrow.RecordBatch or Table, not as list",
            lambda directory: write_in_order(directory, 0, rows=[]),
        ),
        Raised(
            ValueError,
            "partition 4 does not exist: there are 4, from 0",
            lambda directory: write_in_order(directory, 4),
        ),
        Raised(
            ValueError,
            "partition 1 after partition 2: partitions are written in non-decreasing order",
            lambda directory: write_in_order(directory, 2, 1),
        ),
        Raised(
            ValueError,
            "the rows have another schema than the writer: no column key, text and a further column other",
            lambda directory: write_in_order(directory, 0, rows=OTHER),
        ),
        Raised(ValueError, "PATH/a.arrow: the writer is closed", write_after_closing),
        Raised(
            TypeError,
            "the number of partitions must be an integer, not str",
            lambda directory: SpillWriter(directory / "a.arrow", SCHEMA, wrong("4")),
        ),
        Raised(
            ValueError,
            "the number of partitions must be from 1 to 2147483647, not 0",
            lambda directory: SpillWriter(directory / "a.arrow", SCHEMA, 0),
        ),
    ],
}

TABLE: Table = OPTIONS | FORMAT


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
