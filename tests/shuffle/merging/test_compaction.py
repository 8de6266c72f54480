"""A compacting merge from end to end: the rows of a plain merge, in fewer batches."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, MergeOptions, merge
from shuffle.merging.rebatching import BATCH_BYTES
from shuffle.report import Compaction
from shuffle.testing import assert_same_rows
from shuffle.wording import sized
from spill_format import SpillFile, SpillWriter, TargetExistsError
from spill_format.messages import read_codec
from tests.helpers.columns import COLUMNS
from tests.helpers.spark_files import write_spark
from tests.helpers.spills import SCHEMA, index_of, random_spill, random_spills

COMPACT = MergeOptions(compact=True)


def assert_compacted(sources: Sequence[Path], target: Path, plain: Path) -> None:
    """The target is sound, and holds the rows of a plain merge, which is written as ``plain``."""
    merge(sources, plain)
    with SpillFile(target) as compacted:
        compacted.verify()
        compacted.read(0, compacted.partition_count).validate(full=True)
    assert_same_rows(target, plain)


def codecs_of(path: Path) -> set[str | None]:
    """How the record batches of a file are compressed."""
    content = path.read_bytes()
    with pa.ipc.open_file(content) as file:
        count = file.num_record_batches
    with SpillFile(path) as spill:
        index = index_of(content)
        start, codecs = int(spill.layout.offsets[0]), set()
        for metadata_length, body_length in zip(index.metadata_lengths, index.body_lengths, strict=True):
            codecs.add(read_codec(content[start : start + metadata_length]))
            start += int(metadata_length) + int(body_length)
        assert spill.batch_counts.sum() == count
    return codecs


@pytest.mark.parametrize(
    "rows",
    [
        [[5, 0, 7], [1, 2, 3]],
        [[0, 0, 0], [1, 2, 3]],
        [[0, 0, 0], [0, 0, 0]],
        [[5, 0, 0], [0, 0, 5]],
        [[5], [5], [6]],
        [[90_000, 3], [1, 5]],
    ],
)
def test_rows_and_their_order_are_a_plain_merges(tmp_path: Path, target: Path, rows: list[list[int]]) -> None:
    sources = random_spills(tmp_path, *rows)
    report = merge(sources, target, COMPACT)
    assert_compacted(sources, target, tmp_path / "plain.arrow")
    with SpillFile(target) as compacted:
        assert [count > 0 for count in compacted.batch_counts] == [any(counts) for counts in zip(*rows, strict=True)]
    assert report.row_count == sum(map(sum, rows))
    assert report.target_bytes == target.stat().st_size


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_every_type_comes_back(tmp_path: Path, target: Path, column: pa.Array, compression: str | None) -> None:
    batch = pa.record_batch({"row": pa.array(range(len(column))), "column": column})
    sources = [tmp_path / f"{number}.spill.arrow" for number in range(3)]
    for source in sources:
        with SpillWriter(source, batch.schema, 2, compression) as writer:
            for partition, cuts in enumerate([[0, 1, 3, 500, 3000], [700, 1400]]):
                for begin, end in itertools.pairwise(cuts):
                    writer.write(partition, batch.slice(begin, end - begin))
    merge(sources, target, COMPACT)
    values = column.to_pylist()
    with SpillFile(target) as compacted:
        compacted.verify()
        assert compacted.schema.equals(batch.schema)
        assert compacted.batch_counts.tolist() == [1, 1]
        compacted.read(0, 2).validate(full=True)
        assert compacted.read(0)["column"].to_pylist() == values * 3
        assert compacted.read(1)["column"].to_pylist() == values[700:1400] * 3
    merge([target], tmp_path / "again.arrow", COMPACT)
    assert (tmp_path / "again.arrow").read_bytes() == target.read_bytes()


def test_rows_without_columns_are_counted(tmp_path: Path, target: Path) -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 1000, pa.struct([])))
    with SpillWriter(tmp_path / "a.spill.arrow", batch.schema, 2) as writer:
        for partition in (0, 1, 1):
            writer.write(partition, batch)
    merge([tmp_path / "a.spill.arrow"] * 2, target, COMPACT)
    with SpillFile(target) as compacted:
        assert compacted.layout.rows is not None
        assert compacted.layout.rows.tolist() == [2000, 4000]
        assert compacted.batch_counts.tolist() == [1, 1]
        compacted.verify()


def test_a_dictionary_too_large_for_its_index_is_read_in_parts(tmp_path: Path, target: Path) -> None:
    schema = pa.schema([("word", pa.dictionary(pa.int8(), pa.string()))])
    words = [[f"word {number} {row}" for row in range(100)] for number in range(3)]
    with SpillWriter(tmp_path / "a.spill.arrow", schema, 1) as writer:
        for some in words:
            writer.write(0, pa.record_batch([pa.array(some).dictionary_encode().cast(schema.field(0).type)], schema))
    merge([tmp_path / "a.spill.arrow"], target, COMPACT)
    with SpillFile(target) as compacted:
        assert compacted.batch_counts.tolist() == [1]
        assert compacted.read(0)["word"].to_pylist() == [word for some in words for word in some]
        assert compacted.schema.equals(schema)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("compression", [None, "lz4"])
def test_the_bytes_depend_neither_on_threads_nor_on_memory(
    tmp_path: Path, target: Path, threads: int, compression: str | None
) -> None:
    source = tmp_path / "a.spill.arrow"
    with SpillWriter(source, SCHEMA, 3, compression) as writer:
        for partition, count in enumerate([300, 3, 40]):
            for number in range(count):
                rows = [list(range(1000)), [f"{number} {row}" for row in range(1000)]]
                writer.write(partition, pa.record_batch(rows, SCHEMA))
    merge([source] * 2, target, MergeOptions(compact=True, threads=1))
    other = tmp_path / "other.arrow"
    merge([source] * 2, other, MergeOptions(compact=True, threads=threads, memory_bytes=1 << 20))
    assert other.read_bytes() == target.read_bytes()


class TestWhatIsTakenFromTheSources:
    @pytest.mark.parametrize(
        ("compressions", "expected"),
        [([None, None], None), (["lz4", "lz4"], "lz4"), (["zstd", None], "zstd"), ([None, "zstd"], None)],
    )
    def test_the_first_batch_decides_on_the_codec_of_all(
        self, tmp_path: Path, target: Path, compressions: list[str | None], expected: str | None
    ) -> None:
        sources = [tmp_path / f"{number}.spill.arrow" for number in range(len(compressions))]
        for source, compression in zip(sources, compressions, strict=True):
            with SpillWriter(source, SCHEMA, 3, compression) as writer:
                for partition in (0, 0, 2):
                    writer.write(partition, pa.record_batch([[1, 2] * 500, ["text"] * 1000], SCHEMA))
        merge(sources, target, COMPACT)
        assert codecs_of(target) == {expected}
        assert_compacted(sources, target, tmp_path / "plain.arrow")

    def test_alignment_is_a_plain_merges(self, tmp_path: Path, target: Path) -> None:
        sources = [
            random_spill(tmp_path / f"{alignment}.spill.arrow", [3, 4], alignment=alignment)
            for alignment in (4096, 512)
        ]
        merge(sources, target, COMPACT)
        with SpillFile(target) as compacted:
            assert compacted.alignment == 512

    def test_metadata_of_the_schema_is_the_first_ones(self, tmp_path: Path, target: Path) -> None:
        sources = [
            random_spill(tmp_path / f"{name}.spill.arrow", [3], schema=SCHEMA.with_metadata({"name": name}))
            for name in "ab"
        ]
        merge(sources, target, COMPACT)
        with SpillFile(target) as compacted:
            assert compacted.schema.equals(SCHEMA.with_metadata({"name": "a"}), check_metadata=True)


class TestOptionsOfEveryMerge:
    def test_an_existing_target_is_replaced_only_when_asked_to(self, tmp_path: Path, target: Path) -> None:
        sources = random_spills(tmp_path, [5, 6])
        target.write_bytes(b"old")
        with pytest.raises(TargetExistsError):
            merge(sources, target, COMPACT)
        assert target.read_bytes() == b"old"
        merge(sources, target, MergeOptions(compact=True, overwrite=True, durable=True, verify=True))
        assert_compacted(sources, target, tmp_path / "plain.arrow")

    def test_sources_are_deleted_when_asked_to(self, tmp_path: Path, target: Path) -> None:
        sources = random_spills(tmp_path, [5, 6], [7, 8])
        merge(sources, target, MergeOptions(compact=True, delete_sources=True))
        assert not any(source.exists() for source in sources)
        assert target.exists()

    def test_progress_tells_every_byte_of_the_ranges(self, tmp_path: Path, target: Path) -> None:
        sources = random_spills(tmp_path, [50_000, 0, 9], [7, 50_000, 0])
        told: list[int] = []
        report = merge(sources, target, COMPACT, progress=lambda done, _: told.append(done))
        assert told == sorted(told)
        assert told[-1] == report.byte_count
        assert len(told) > 1

    def test_the_report_tells_what_was_gained(self, tmp_path: Path, target: Path) -> None:
        sources = [random_spill(tmp_path / f"{number}.spill.arrow", [30, 3, 0], batch_rows=3) for number in range(4)]
        report = merge(sources, target, MergeOptions(compact=True, verify=True))
        with SpillFile(target) as compacted:
            after = compacted.layout.byte_count
        assert report.compaction == Compaction(44, 2, report.byte_count, after)
        assert after < report.byte_count / 2
        assert str(report).endswith(
            f"44 record batches of {sized(report.byte_count)} became 2 record batches of {sized(after)}"
        )
        assert json.loads(json.dumps(report.as_dict()))["compaction"]["batches_after"] == 2
        assert (report.methods, report.verified, report.source_count, report.partition_count) == ({}, True, 4, 3)

    def test_sparks_files_are_refused_before_anything_is_written(self, tmp_path: Path, target: Path) -> None:
        source = write_spark(tmp_path / "shuffle_0_0_0.data", [b"opaque"])
        with pytest.raises(ValueError, match=r"shuffle_0_0_0.data: Spark's bytes are never decoded here"):
            merge([source], target.with_suffix(".data"), COMPACT)
        assert os.listdir(target.parent) == []


def test_full_batches_are_left_at_their_size(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "a.spill.arrow"
    with SpillWriter(source, SCHEMA, 1) as writer:
        for number in range(300):
            rows = [[number] * 700, ["x" * (row % 17) for row in range(700)]]
            writer.write(0, pa.record_batch(rows, SCHEMA))
    merge([source] * 3, target, COMPACT)
    with SpillFile(target) as compacted:
        sizes = [batch.nbytes for batch in compacted.batches(0)]
    # A column without nulls has no bitmap, which is counted all the same.
    assert all(0.95 * BATCH_BYTES < size < BATCH_BYTES + 100 for size in sizes[:-1])
    assert len(sizes) > 5
    merge([target], tmp_path / "again.arrow", COMPACT)
    assert (tmp_path / "again.arrow").read_bytes() == target.read_bytes()


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_rows_larger_than_the_memory_are_whole(tmp_path: Path, target: Path, compression: str | None) -> None:
    schema = pa.schema([("text", pa.string()), ("view", pa.string_view())])
    source = tmp_path / "a.spill.arrow"
    with SpillWriter(source, schema, 2, compression) as writer:
        for _ in range(3):
            writer.write(1, pa.record_batch([["x" * (6 << 20), "y"], ["z" * (5 << 20), None]], schema))
    merge([source] * 2, target, MergeOptions(compact=True, memory_bytes=1 << 20))
    with SpillFile(target) as compacted:
        assert [batch.num_rows for batch in compacted.batches(1)] == [1, 2, 2, 2, 2, 2, 1]
    assert_compacted([source] * 2, target, tmp_path / "plain.arrow")


def test_lineitem_is_the_same_in_fewer_batches(tmp_path: Path, target: Path) -> None:
    generator = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "--scale-factor=0.01", "--tables=lineitem", f"--output-dir={tmp_path}"]
    subprocess.run([generator, *arguments], check=True, capture_output=True)
    lineitem = pa.parquet.read_table(tmp_path / "lineitem.parquet")
    sources = []
    for number in range(20):
        sources.append(tmp_path / f"map-{number}.spill.arrow")
        partitioner = HashPartitioner(["l_orderkey"], 30)
        with MapWriter(sources[-1], lineitem.schema, partitioner, MapOptions(compression="zstd")) as writer:
            writer.write(lineitem.slice(number * 3009, 3009))
    report = merge(sources, target, COMPACT)
    assert_compacted(sources, target, tmp_path / "plain.arrow")
    assert report.compaction is not None
    assert (report.compaction.batches_before, report.compaction.batches_after) == (600, 30)
    assert report.compaction.bytes_after < 0.7 * report.compaction.bytes_before
