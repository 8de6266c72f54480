"""What a partitioned file gives to its reader."""

from __future__ import annotations

import gc
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shuffle.testing import write_spill
from spill_format import ChecksumError, CorruptError, SpillFile
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import FLAT_SCHEMA, flat_batch, write_sample


@pytest.fixture
def path(verified_dir: Path) -> Path:
    return write_sample(verified_dir / "sample.spill.arrow")


def test_a_file_describes_itself(path: Path) -> None:
    with SpillFile(path) as spill:
        assert spill.path == str(path)
        assert spill.schema is spill.schema
        assert spill.schema == FLAT_SCHEMA
        assert spill.partition_count == 4
        assert spill.alignment == 64
        assert spill.byte_count == path.stat().st_size
        assert spill.batch_counts.tolist() == [2, 0, 1, 0]
        assert spill.layout.rows is not None
        assert spill.layout.rows.tolist() == [4, 0, 4, 0]
        assert spill.layout.row_count == 8


@pytest.mark.parametrize(
    ("partitions", "rows"),
    [
        ((0,), [0, 1, 2, 3]),
        ((1,), []),
        ((2,), [4, 5, 6, 7]),
        ((3,), []),
        ((0, 4), list(range(8))),
        ((1, 3), [4, 5, 6, 7]),
        ((2, 2), []),
        ((4, 4), []),
        ((np.int32(0), np.int64(1)), [0, 1, 2, 3]),
    ],
)
def test_partitions_are_read_alone_and_together(path: Path, partitions: tuple[int, ...], rows: list[int]) -> None:
    with SpillFile(path) as spill:
        table = spill.read(*partitions)
        assert table.schema == FLAT_SCHEMA
        assert table["n"].to_pylist() == rows
        reader = spill.batches(*partitions)
        assert reader.schema == FLAT_SCHEMA
        assert reader.read_all() == table


@pytest.mark.parametrize("partitions", [(-1,), (4,), (0, 5), (3, 2), (-1, 2)])
@pytest.mark.parametrize("method", [SpillFile.read, SpillFile.batches])
def test_partitions_that_do_not_exist_are_an_index_error(
    path: Path, method: Callable[..., object], partitions: tuple[int, ...]
) -> None:
    with SpillFile(path) as spill, pytest.raises(IndexError, match="not exist: there are 4, from 0"):
        method(spill, *partitions)


def test_a_partition_is_an_integer(path: Path) -> None:
    with SpillFile(path) as spill, pytest.raises(TypeError, match="float"):
        spill.read(1.0)  # type: ignore[arg-type]


def test_nothing_is_copied(verified_dir: Path) -> None:
    batch = pa.record_batch({"n": np.arange(1 << 20)})
    path = write_spill({0: [batch]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=1)
    with SpillFile(path) as spill:
        before = pa.total_allocated_bytes()
        table = spill.read(0)
        assert pa.total_allocated_bytes() - before < 1 << 16
        assert table.nbytes == 8 << 20


def test_what_was_read_outlives_the_file(path: Path) -> None:
    spill = SpillFile(path)
    table = spill.read(0)
    spill.close()
    spill.close()
    del spill
    gc.collect()
    path.rename(path.with_name("renamed"))
    assert table["n"].to_pylist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "act", [lambda spill: spill.read(0), lambda spill: spill.batches(0).read_all(), lambda spill: spill.verify()]
)
def test_a_closed_file_is_not_read(path: Path, act: Callable[[SpillFile], object]) -> None:
    with SpillFile(path) as spill:
        pass
    with pytest.raises(ValueError, match=r"sample\.spill\.arrow: the file is closed"):
        act(spill)


def test_threads_read_one_file(verified_dir: Path) -> None:
    partitions = {partition: [flat_batch(3, 3 * partition)] for partition in range(200)}
    path = write_spill(partitions, verified_dir / "x.arrow", partition_count=200)
    with SpillFile(path) as spill, ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(spill.read, range(200)))
    assert pa.concat_tables(tables)["n"].to_pylist() == list(range(600))


def test_verifying_names_the_damaged_partition_alone(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "x.arrow")
    sound = Anatomy.of(path)
    path.write_bytes(sound.patched(sound.offsets[2] + 8, b"\xee"))
    with SpillFile(path) as spill:
        for partition in (0, 1, 3):
            spill.verify_partition(partition)
        with pytest.raises(ChecksumError) as caught:
            spill.verify_partition(2)
        assert (caught.value.partition, caught.value.offset) == (2, sound.offsets[2])
        with pytest.raises(IndexError):
            spill.verify_partition(4)
        assert spill.read(0).num_rows == 4


WIDE_SCHEMA = pa.schema(
    [("n", pa.int64()), ("s", pa.string()), ("d", pa.dictionary(pa.int8(), pa.string())), ("x", pa.float64())],
    metadata={"of": "the file"},
)


def wide_batch(first: int, row_count: int) -> pa.RecordBatch:
    numbers = range(first, first + row_count)
    words = [f"word {n % 5}" for n in numbers]
    columns = [pa.array(numbers), pa.array(words), pa.array(words).dictionary_encode(), pa.array(map(float, numbers))]
    return pa.record_batch([c.cast(f.type) for c, f in zip(columns, WIDE_SCHEMA, strict=True)], schema=WIDE_SCHEMA)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("columns", [["n"], ["d"], ["x", "s"], ["d", "n", "x", "s"]])
def test_columns_are_those_of_the_whole(verified_dir: Path, compression: str | None, columns: list[str]) -> None:
    path = write_spill(
        {0: [wide_batch(0, 100), wide_batch(100, 7)], 2: [wide_batch(107, 1)]},
        verified_dir / "x.arrow",
        schema=WIDE_SCHEMA,
        partition_count=3,
        compression=compression,
    )
    with SpillFile(path) as spill:
        whole = spill.read(0, 3)
        assert spill.read(0, 3, columns=columns).equals(whole.select(columns), check_metadata=True)
        assert spill.batches(2, columns=columns).read_all() == spill.read(2).select(columns)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("n", TypeError, "columns takes several names, in a list: not 'n'"),
        ([], ValueError, "columns must name at least one column; None stands for all"),
        (["n", "n"], ValueError, "columns names a column twice: n, n"),
        (["n", "z"], ValueError, "no column is named 'z'; there are n, s"),
    ],
)
def test_columns_are_names_that_the_file_has(
    path: Path, columns: list[str], error: type[Exception], message: str
) -> None:
    with SpillFile(path) as spill, pytest.raises(error, match=message):
        spill.read(0, columns=columns)


def test_a_name_of_two_columns_is_ambiguous(verified_dir: Path) -> None:
    batch = pa.record_batch([[1], [2], [3]], names=["a", "b", "a"])
    path = write_spill({0: [batch]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=1)
    with SpillFile(path) as spill:
        assert spill.read(0, columns=["b"]).to_pydict() == {"b": [2]}
        with pytest.raises(ValueError, match="2 columns are named 'a'"):
            spill.read(0, columns=["a"])


def resident_bytes(path: Path) -> int:
    """Pages of a file that this process has touched through its memory maps."""
    parts = Path("/proc/self/smaps").read_text().split(str(path))
    return sum(int(re.findall(r"Rss:\s+(\d+) kB", part)[0]) for part in parts[1:]) * 1024


def test_pages_of_other_columns_are_not_touched(verified_dir: Path) -> None:
    schema = pa.schema([(name, pa.int64()) for name in "abcdefgh"])
    numbers = np.arange(1 << 18)
    batch = pa.record_batch([numbers] * 8, schema=schema)
    path = write_spill({0: [batch] * 4}, verified_dir / "x.arrow", schema=schema, partition_count=1)
    with SpillFile(path) as spill:
        table = spill.read(0, columns=["c"])
        assert sum(chunk.to_numpy().sum() for chunk in table["c"].chunks) == 4 * numbers.sum()
        # 8 MiB of 64; the kernel maps pages around those that are touched.
        assert resident_bytes(path) < 24 << 20


@pytest.mark.parametrize(("count", "batches"), [(1, [12]), (2, [6, 6]), (3, [4, 4, 4]), (12, [1] * 12), (50, [1] * 12)])
def test_slices_of_a_partition_are_the_partition(verified_dir: Path, count: int, batches: list[int]) -> None:
    partition = [flat_batch(10, 10 * number) for number in range(10, 22)]
    path = write_spill({1: [flat_batch(3)], 2: partition}, verified_dir / "x.arrow", partition_count=4)
    with SpillFile(path) as spill:
        slices = spill.slices(2, count)
        assert [part.stop_batch - part.start_batch for part in slices] == batches
        start, end = spill.range_of(2)
        assert sum(part.byte_count for part in slices) == end - start
        parts = [spill.read_slice(pickle.loads(pickle.dumps(part))) for part in slices]
        assert pa.concat_tables(parts) == spill.read(2)
        assert spill.read_slice(slices[0], columns=["s"]) == parts[0].select(["s"])


def test_an_empty_partition_has_no_slices(path: Path) -> None:
    with SpillFile(path) as spill:
        assert spill.slices(1, 3) == []


def test_slices_that_do_not_exist(path: Path) -> None:
    with SpillFile(path) as spill:
        (part,) = spill.slices(2, 1)
        with pytest.raises(IndexError, match="partition 2 has 1 batches"):
            spill.read_slice(part._replace(stop_batch=2))
        with pytest.raises(IndexError, match="partition 4 does not exist"):
            spill.slices(4, 1)
        with pytest.raises(ValueError, match="1 slice or more, not 0"):
            spill.slices(0, 0)


def test_announcing_a_read_changes_nothing(path: Path) -> None:
    with SpillFile(path) as spill:
        for partition in range(4):
            spill.will_need(partition)
        spill.will_need(0, 4)
        assert spill.read(0, 4)["n"].to_pylist() == list(range(8))
    with pytest.raises(ValueError, match="the file is closed"):
        spill.will_need(0)


def test_a_file_is_told_in_a_line_and_offers_its_rows(path: Path) -> None:
    with SpillFile(path) as spill:
        assert repr(spill) == f"SpillFile({str(path)!r}, 4 partitions, {path.stat().st_size} bytes)"
        assert pa.table(spill)["n"].to_pylist() == list(range(8))
        assert repr(spill.layout) == f"PartitionLayout(4 partitions, 8 rows, {spill.layout.byte_count} bytes)"
    assert repr(spill).endswith(" bytes, closed)")


@pytest.mark.parametrize("run_bytes", [1, 700, 1 << 20])
@pytest.mark.parametrize("columns", [None, ["d", "n"]])
def test_an_unmapped_file_is_read_in_runs(
    verified_dir: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, columns: list[str] | None
) -> None:
    partitions = {0: [wide_batch(0, 10), wide_batch(10, 7)], 2: [wide_batch(17, 1)], 3: [wide_batch(18, 5)]}
    path = write_spill(partitions, verified_dir / "x.arrow", schema=WIDE_SCHEMA, partition_count=5)
    monkeypatch.setattr("spill_format.reader._RUN_BYTES", run_bytes)
    with SpillFile(path, mapped=False) as unmapped, SpillFile(path) as mapped:
        whole = mapped.read(0, 5, columns=columns)
        assert unmapped.batches(0, 5, columns=columns).read_all() == whole
        assert unmapped.read(0, 5, columns=columns) == whole
        unmapped.will_need(0, 5)


def test_partitions_of_a_large_index_are_read_by_parts(verified_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = {partition: [flat_batch(2, 2 * partition)] * (1 + partition % 2) for partition in range(0, 60, 3)}
    path = write_spill(partitions, verified_dir / "x.arrow", schema=FLAT_SCHEMA, partition_count=60)
    with SpillFile(path) as whole:
        expected = [whole.read(partition) for partition in range(60)]
    for few, wide in ((0, 2048), (8, 4), (40, 4)):
        monkeypatch.setattr("spill_format.reader._FEW_MESSAGES", few)
        monkeypatch.setattr("spill_format.reader._WIDE_PARTITIONS", wide)
        with SpillFile(path) as spill:
            assert [spill.read(partition) for partition in range(60)] == expected
            assert [spill.read(p, columns=["s"]) for p in range(60)] == [table.select(["s"]) for table in expected]
            assert spill.range_of(5, 9) == (spill.layout.offsets[5], spill.layout.offsets[9])
            spill.verify()


def test_columns_are_not_read_by_a_footer_that_is_another_ones(path: Path, tmp_path: Path) -> None:
    sound = Anatomy.of(path)
    (tmp_path / "x.arrow").write_bytes(sound.patched(-10 - 24, (8).to_bytes(8, "little")))
    with SpillFile(tmp_path / "x.arrow") as spill:
        assert spill.read(0, 4).num_rows == 8
        with pytest.raises(CorruptError, match="footer is not the one that the index describes"):
            spill.read(0, 4, columns=["n"])
