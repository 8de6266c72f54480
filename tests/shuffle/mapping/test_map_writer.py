"""A map task: rows to partitions, spills inside a budget, one map output, and nothing left behind."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from shuffle import (
    CallablePartitioner,
    HashPartitioner,
    MapOptions,
    MapWriter,
    RoundRobinPartitioner,
)
from shuffle.partitioners import Partitioner
from spill_format import SpillFile
from spill_format.errors import TargetExistsError
from tests.helpers.map_outputs import MIB, SCHEMA, assert_partitioned, batches_of, rows_of, write_all


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the target goes; a test leaves nothing else there."""
    path = tmp_path / "outputs"
    path.mkdir()
    return path


@pytest.fixture
def target(directory: Path) -> Path:
    return directory / "map.arrow"


# rows, rows of a batch, partitions, options
CASES: dict[str, Any] = {
    "no spill": (20_000, 3000, 7, {}),
    "one row": (1, 1, 5, {}),
    "one partition": (10_000, 999, 1, {"memory_bytes": MIB}),
    "spills": (200_000, 10_000, 20, {"memory_bytes": 2 * MIB}),
    "spills of one thread": (100_000, 10_000, 20, {"memory_bytes": 2 * MIB, "threads": 1}),
    "one batch larger than the budget": (200_000, 200_000, 20, {"memory_bytes": 2 * MIB}),
    "batches of a row": (2000, 1, 20, {"memory_bytes": MIB}),
    "more partitions than rows": (1000, 100, 10_000, {"memory_bytes": MIB}),
    "many partitions, spilled": (100_000, 10_000, 5000, {"memory_bytes": 2 * MIB}),
    "100,000 partitions": pytest.param(150_000, 10_000, 100_000, {"memory_bytes": 8 * MIB}, marks=pytest.mark.slow),
    "lz4": (100_000, 10_000, 20, {"memory_bytes": 2 * MIB, "compression": "lz4"}),
    "zstd": (20_000, 10_000, 20, {"compression": "zstd"}),
    "alignment": (100_000, 10_000, 20, {"memory_bytes": 2 * MIB, "alignment": 4096}),
    "durable": (20_000, 10_000, 20, {"memory_bytes": MIB, "durable": True}),
    "wide rows": (60, 7, 5, {"memory_bytes": 2 * MIB}),
}


@pytest.mark.parametrize(("row_count", "batch_rows", "partition_count", "options"), CASES.values(), ids=CASES)
def test_every_row_is_in_its_partition_in_order(
    target: Path, row_count: int, batch_rows: int, partition_count: int, options: dict[str, Any]
) -> None:
    batches = list(batches_of(row_count, batch_rows, text_length=200_000 if row_count == 60 else 20))
    partitioner = HashPartitioner(["key", "text"], partition_count)
    report, _ = write_all(target, batches, partitioner, **options)
    assert_partitioned(target, batches, partitioner)
    assert os.listdir(target.parent) == [target.name]
    assert report.row_count == row_count
    assert report.target_bytes == target.stat().st_size
    assert report.partition_count == partition_count
    assert report.layout is not None
    with SpillFile(target) as output:
        for array in ("offsets", "rows", "crc32c"):
            np.testing.assert_array_equal(getattr(report.layout, array), getattr(output.layout, array))


class Capsules(SimpleNamespace):
    """An object that has nothing but the Arrow PyCapsule interface."""


def test_tables_batches_and_capsules_are_the_same(target: Path) -> None:
    batches = list(batches_of(10_000, 1000))
    partitioner = HashPartitioner(["key"], 4)
    with MapWriter(target, SCHEMA, partitioner) as writer:
        writer.write(pa.Table.from_batches(batches[:4]))
        writer.write(Capsules(__arrow_c_stream__=pa.Table.from_batches(batches[4:6]).__arrow_c_stream__))
        writer.write(Capsules(__arrow_c_array__=batches[6].__arrow_c_array__))
        for batch in batches[7:]:
            writer.write(batch)
        writer.write(pa.Table.from_batches([], SCHEMA))
        writer.write(batches[0].slice(0, 0))
    assert_partitioned(target, batches, partitioner)


@pytest.mark.parametrize("options", [{}, {"keep_spills": True}])
def test_no_rows_make_a_file_of_empty_partitions(target: Path, options: dict[str, Any]) -> None:
    with MapWriter(target, SCHEMA, HashPartitioner(["key"], 3), MapOptions(**options)):
        pass
    with SpillFile(target) as output:
        output.verify()
        assert output.read(0, 3).num_rows == 0
        assert output.schema.equals(SCHEMA)


def test_the_budget_spills_before_it_is_passed(target: Path) -> None:
    batches = list(batches_of(300_000, 5000))
    memory_bytes = 4 * MIB
    report, _ = write_all(target, batches, HashPartitioner(["key"], 10), memory_bytes=memory_bytes)
    assert report.row_bytes == pytest.approx(sum(batch.nbytes for batch in batches), rel=0.01)
    assert report.row_bytes / memory_bytes < report.spill_count < 2 * report.row_bytes / memory_bytes
    assert report.spilled_bytes >= report.row_bytes
    assert report.merge is not None
    assert report.merge.source_count == report.spill_count


def test_what_fits_is_not_spilled(target: Path) -> None:
    report, _ = write_all(target, list(batches_of(50_000, 5000)), HashPartitioner(["key"], 10))
    assert (report.spill_count, report.spilled_bytes, report.merge) == (0, 0, None)


def test_the_report_counts_seconds(target: Path) -> None:
    report, _ = write_all(target, list(batches_of(100_000, 9000)), HashPartitioner(["key"], 10), memory_bytes=2 * MIB)
    parts = [report.seconds_partitioning, report.seconds_sorting, report.seconds_writing, report.seconds_merging]
    assert min(parts) > 0
    assert report.seconds > report.seconds_partitioning + report.seconds_writing + report.seconds_merging
    assert "layout" not in report.as_dict()  # three arrays of P are too much for a line of JSON
    assert set(report.as_dict()) >= {"row_count", "row_bytes", "spill_count", "spilled_bytes", "seconds_merging"}


@pytest.mark.parametrize("partition_count", [30, 5000])  # 5000: rows wait, and are cut by partition
@pytest.mark.parametrize("is_skewed", [False, True])
@pytest.mark.parametrize("memory_bytes", [2 * MIB, 64 * MIB])
def test_the_bytes_do_not_depend_on_the_number_of_threads(
    directory: Path, memory_bytes: int, is_skewed: bool, partition_count: int
) -> None:
    batches = list(batches_of(200_000, 7000))
    if is_skewed:  # nine of ten rows go to one partition
        keys = [pc.if_else(pc.less(pc.bit_wise_and(batch["key"], 15), 14), 7, batch["key"]) for batch in batches]
        batches = [batch.set_column(0, SCHEMA.field(0), key) for batch, key in zip(batches, keys, strict=True)]
    partitioner = HashPartitioner(["key"], partition_count)
    contents = set()
    for threads in (1, 2, 5):
        target = directory / f"{threads}.arrow"
        write_all(target, batches, partitioner, memory_bytes=memory_bytes, threads=threads)
        contents.add(target.read_bytes())
    assert len(contents) == 1
    assert_partitioned(directory / "5.arrow", batches, partitioner)


def test_a_row_larger_than_the_budget_is_a_spill_of_its_own(target: Path) -> None:
    large = pa.record_batch([[1], [1000], ["x" * (3 * MIB)]], SCHEMA)
    batches = [rows_of(1000), large, rows_of(500, first=2000)]
    partitioner = HashPartitioner(["key"], 4)
    report, _ = write_all(target, batches, partitioner, memory_bytes=MIB)
    assert_partitioned(target, batches, partitioner)
    assert report.spill_count == 3


def test_rows_go_round_robin_across_batches_and_spills(target: Path) -> None:
    batches = list(batches_of(100_000, 777))
    write_all(target, batches, RoundRobinPartitioner(7), memory_bytes=2 * MIB)
    with SpillFile(target) as output:
        for partition in range(7):
            assert output.read(partition)["row"].to_pylist() == list(range(partition, 100_000, 7))


# --- what is published, and how -----------------------------------------------------------------------------------


def test_one_spill_is_published_as_it_is(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rows that pass the budget only when the last ones are sorted would do as well; this is one spill for certain.
    large = pa.record_batch([[1], [0], ["x" * (3 * MIB)]], SCHEMA)
    report, batches = write_all(target, [large], HashPartitioner(["key"], 4), memory_bytes=MIB)
    assert (report.spill_count, report.merge) == (1, None)
    assert_partitioned(target, batches, HashPartitioner(["key"], 4))
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("row_count", [100, 100_000])
def test_kept_spills_merge_into_the_target(directory: Path, row_count: int) -> None:
    target, places = directory / "map.arrow", [directory / "a", directory / "b"]
    for place in places:
        place.mkdir()
    batches = list(batches_of(row_count, 3000))
    report, _ = write_all(
        target,
        batches,
        HashPartitioner(["key"], 4),
        memory_bytes=2 * MIB,
        keep_spills=True,
        spill_directories=places,
    )
    assert_partitioned(target, batches, HashPartitioner(["key"], 4))
    expected = [places[n % 2] / f"map-{n:05}.spill.arrow" for n in range(report.spill_count)]
    assert report.spills == tuple(map(str, expected))
    row_counts = []
    for spill_path in expected:
        with SpillFile(spill_path) as spill:
            spill.verify()
            row_counts.append(spill.read(0, 4).num_rows)
    assert sum(row_counts) == row_count


@pytest.mark.slow
def test_more_spills_than_descriptors_are_joined(target: Path) -> None:
    batches = list(batches_of(300_000, 10_000, text_length=200))
    partitioner = HashPartitioner(["key"], 3)
    report, _ = write_all(target, batches[:17], partitioner, memory_bytes=MIB)
    assert_partitioned(target, batches[:17], partitioner)
    large = [pa.record_batch([[row], [row], ["x" * (MIB - 1000)]], SCHEMA) for row in range(140)]
    other = target.with_name("large.arrow")
    report, _ = write_all(other, large, partitioner, memory_bytes=MIB)
    assert report.spill_count == 140
    assert report.merge is not None
    assert report.merge.source_count < 128
    assert_partitioned(other, large, partitioner)


@pytest.mark.parametrize("row_count", [100, 200_000])
def test_an_existing_target_is_not_replaced(target: Path, row_count: int) -> None:
    target.write_bytes(b"mine")
    with pytest.raises(TargetExistsError):
        MapWriter(target, SCHEMA, HashPartitioner(["key"], 4))
    assert target.read_bytes() == b"mine"
    write_all(
        target,
        list(batches_of(row_count, 10_000)),
        HashPartitioner(["key"], 4),
        memory_bytes=2 * MIB,
        overwrite=True,
    )
    assert_partitioned(target, list(batches_of(row_count, 10_000)), HashPartitioner(["key"], 4))
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("row_count", [100, 200_000])
def test_a_target_that_appears_meanwhile_wins(target: Path, row_count: int) -> None:
    writer = MapWriter(target, SCHEMA, HashPartitioner(["key"], 4), MapOptions(memory_bytes=2 * MIB))
    for batch in list(batches_of(row_count, 10_000))[:3]:
        writer.write(batch)
    target.write_bytes(b"mine")
    with pytest.raises(TargetExistsError):
        writer.close()
    assert target.read_bytes() == b"mine"
    assert os.listdir(target.parent) == [target.name]
    writer.close()


# --- refusals and errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_count", [0, 100, 100_000])
@pytest.mark.parametrize("keep_spills", [False, True])
def test_an_exception_leaves_nothing_behind(target: Path, row_count: int, keep_spills: bool) -> None:
    options = MapOptions(memory_bytes=MIB, keep_spills=keep_spills)
    writer = MapWriter(target, SCHEMA, HashPartitioner(["key"], 4), options)

    def interrupted() -> None:
        with writer:
            for batch in batches_of(row_count, 10_000):
                writer.write(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(target.parent) == []
    assert writer.report is None
    writer.close()
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (pa.record_batch({"key": [1]}), ValueError, "another schema than the writer: no column row, text"),
        (rows_of(1).append_column("more", pa.array([1])), ValueError, "a further column more"),
        (rows_of(1).cast(SCHEMA.set(0, pa.field("key", pa.int32()))), ValueError, "column key is int32, not int64"),
        ({"key": [1]}, TypeError, "not as dict"),
    ],
)
def test_other_rows_are_refused_and_do_no_harm(target: Path, rows: Any, error: type[Exception], message: str) -> None:
    with MapWriter(target, SCHEMA, HashPartitioner(["key"], 4)) as writer:
        writer.write(rows_of(10))
        with pytest.raises(error, match=message):
            writer.write(rows)
        writer.write(rows_of(10, first=10))
    assert_partitioned(target, [rows_of(10), rows_of(10, first=10)], HashPartitioner(["key"], 4))


def test_metadata_of_schemas_does_not_count(target: Path) -> None:
    with MapWriter(target, SCHEMA.with_metadata({"writer": "a"}), HashPartitioner(["key"], 4)) as writer:
        for number in range(4):
            writer.write(rows_of(10, first=10 * number).replace_schema_metadata({"batch": str(number)}))
    with SpillFile(target) as output:
        assert output.schema.metadata == {b"writer": b"a"}
        assert sorted(output.read(0, 4)["row"].to_pylist()) == list(range(40))


def test_a_column_that_does_not_exist_is_refused(target: Path) -> None:
    with pytest.raises(ValueError, match=r"'nothing'.*'key', 'row', 'text'"):
        MapWriter(target, SCHEMA, HashPartitioner(["nothing"], 4))
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("arguments", [{"alignment": 7}, {"compression": "gzip"}])
def test_wrong_options_are_refused_before_a_row_is_taken(target: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"alignment|compression"):
        MapWriter(target, SCHEMA, HashPartitioner(["key"], 4), MapOptions(**arguments))
    assert os.listdir(target.parent) == []


class WrongNumbers:
    """A partitioner that breaks its promise."""

    partition_count = 4

    def check_schema(self, schema: pa.Schema) -> None:
        pass

    def partition_numbers(self, batch: pa.RecordBatch) -> Any:
        return np.full(batch.num_rows, 4, np.uint16)


@pytest.mark.parametrize("partitioner", [WrongNumbers(), CallablePartitioner(lambda batch: [4] * batch.num_rows, 4)])
def test_a_partition_that_does_not_exist_fails_for_good(target: Path, partitioner: Partitioner) -> None:
    writer = MapWriter(target, SCHEMA, partitioner)
    with pytest.raises(ValueError, match="4"):
        writer.write(rows_of(10))
    with pytest.raises(ValueError, match="an earlier write failed, so rows are missing"):
        writer.close()
    assert os.listdir(target.parent) == []


def test_a_closed_writer_takes_nothing_and_closes_again(target: Path) -> None:
    writer = MapWriter(target, SCHEMA, HashPartitioner(["key"], 4))
    writer.write(rows_of(10))
    writer.close()
    report = writer.report
    writer.close()
    writer.discard()
    assert writer.report is report
    assert target.exists()
    with pytest.raises(ValueError, match="the writer is closed"):
        writer.write(rows_of(10))


def test_no_descriptor_and_no_thread_outlives_the_writer(target: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_all(target, list(batches_of(100_000, 10_000)), HashPartitioner(["key"], 4), memory_bytes=MIB, threads=3)
    assert os.listdir("/proc/self/fd") == descriptors


def test_slices_that_wait_do_not_keep_what_they_were_cut_from(target: Path) -> None:
    before = pa.total_allocated_bytes()
    with MapWriter(target, SCHEMA, HashPartitioner(["key"], 4)) as writer:
        for number in range(10):
            columns = [pa.nulls(1 << 17, kind).fill_null(number) for kind in (pa.int64(), pa.int64())]
            texts = pa.nulls(1 << 17, pa.string()).fill_null("sixteen letters.")
            writer.write(pa.record_batch([*columns, texts], SCHEMA).slice(1000, 10))
            del columns, texts
        assert pa.total_allocated_bytes() - before < MIB
    with SpillFile(target) as output:
        assert sorted(output.read(0, 4)["row"].to_pylist()) == [number for number in range(10) for _ in range(10)]
