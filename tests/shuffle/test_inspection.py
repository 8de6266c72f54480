"""What is found out about files: sizes, skew, codecs, and damage wherever it is."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from shuffle import merge
from shuffle.inspection import PartitionSizes, combined, inspect_file, is_damage
from spill_format import SpillFile, SpillWriter
from spill_format.errors import CorruptError, NotPartitionedError, SpillError, TruncatedError
from tests.spills import SCHEMA, batch_of, write_spill


def sizes_of(*byte_counts: int) -> PartitionSizes:
    array = np.array(byte_counts, dtype=np.int64)
    return PartitionSizes(array, array // 2, (array > 0).astype(np.int64))


def with_codec(path: Path, codec: Literal["lz4", "zstd"] | None) -> Path:
    with SpillWriter(path, SCHEMA, 2, compression=codec) as writer:
        for partition in range(2):
            writer.write(partition, batch_of(np.arange(1000)))
    return path


def damaged(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_an_inspection_says_what_the_file_holds(tmp_path: Path) -> None:
    path = write_spill(tmp_path / "a.spill.arrow", [25_000, 0, 5], alignment=4096)
    inspection = inspect_file(path)
    with SpillFile(path) as spill:
        assert inspection.byte_count == os.path.getsize(path)
        assert inspection.alignment == 4096
        assert inspection.sizes.byte_counts.tolist() == np.diff(spill.layout.offsets).tolist()
        assert inspection.sizes.batch_counts.tolist() == [3, 0, 1] == spill.batch_counts.tolist()
    assert inspection.sizes.row_counts.tolist() == [25_000, 0, 5]
    assert inspection.as_dict()["row_count"] == 25_005


@pytest.mark.parametrize(
    ("codecs", "found"),
    [
        ([None], ("none",)),
        (["lz4"], ("lz4",)),
        (["zstd"], ("zstd",)),
        (["zstd", None, "lz4"], ("none", "lz4", "zstd")),
    ],
)
def test_codecs_are_told_also_of_a_merge_of_different_ones(
    tmp_path: Path, codecs: list[Literal["lz4", "zstd"] | None], found: tuple[str, ...]
) -> None:
    sources = [with_codec(tmp_path / f"{number}.spill.arrow", codec) for number, codec in enumerate(codecs)]
    merge(sources, tmp_path / "merged.arrow")
    assert inspect_file(tmp_path / "merged.arrow").codecs == found


def test_a_file_without_rows_has_no_codec(tmp_path: Path) -> None:
    inspection = inspect_file(write_spill(tmp_path / "empty.spill.arrow", [0, 0, 0]))
    assert inspection.codecs == ()
    assert inspection.sizes.empty_count == 3
    assert inspection.sizes.skew is None


@pytest.mark.parametrize(
    ("byte_counts", "smallest", "median", "largest", "skew", "empty"),
    [
        ([10], 10, 10, 10, 1.0, 0),
        ([10, 20, 60], 10, 20, 60, 3.0, 0),
        ([0, 10, 20, 60], 0, 15, 60, 4.0, 1),
        ([0, 0, 0, 60], 0, 0, 60, None, 3),
    ],
)
def test_skew_is_the_largest_over_the_median(
    byte_counts: list[int], smallest: int, median: float, largest: int, skew: float | None, empty: int
) -> None:
    sizes = sizes_of(*byte_counts)
    assert (sizes.smallest_bytes, sizes.median_bytes, sizes.largest_bytes) == (smallest, median, largest)
    assert (sizes.skew, sizes.empty_count) == (skew, empty)


def test_order_is_by_number_or_the_largest_first_and_stable() -> None:
    sizes = sizes_of(5, 9, 5, 7)
    assert sizes.ordered("partition").tolist() == [0, 1, 2, 3]
    assert sizes.ordered("size").tolist() == [1, 3, 0, 2]
    assert sizes.ordered("rows").tolist() == [1, 3, 0, 2]
    assert sizes.ordered("batches").tolist() == [0, 1, 2, 3]


def test_files_together_have_the_sizes_of_their_merge(tmp_path: Path) -> None:
    sources = [write_spill(tmp_path / f"{n}.spill.arrow", rows) for n, rows in enumerate([[9, 0, 70], [0, 0, 5]])]
    merge(sources, tmp_path / "merged.arrow")
    together = combined([inspect_file(path).sizes for path in sources])
    assert together is not None
    assert together.as_dict() == inspect_file(tmp_path / "merged.arrow").sizes.as_dict()


def test_files_of_different_partition_counts_have_nothing_together() -> None:
    assert combined([sizes_of(1), sizes_of(1, 2)]) is None
    assert combined([]) is None


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
def test_a_cut_file_is_damaged_at_any_length(tmp_path: Path, kept: int) -> None:
    path = write_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TruncatedError) as caught:
        inspect_file(path)
    assert is_damage(caught.value)


def test_a_file_with_one_magic_is_damaged_and_with_none_is_another_kind_of_file(tmp_path: Path) -> None:
    path = write_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    damaged(path, 0)
    with pytest.raises(CorruptError):
        inspect_file(path)
    damaged(path, os.path.getsize(path) - 1)
    with pytest.raises(SpillError, match="not an Arrow IPC file") as caught:
        inspect_file(path)
    assert not is_damage(caught.value)


def test_an_arrow_file_without_an_index_is_not_damaged(tmp_path: Path) -> None:
    with pa.ipc.new_file(tmp_path / "plain.arrow", SCHEMA) as writer:
        writer.write_batch(batch_of(np.arange(3)))
    with pytest.raises(NotPartitionedError) as caught:
        inspect_file(tmp_path / "plain.arrow")
    assert not is_damage(caught.value)


def test_neither_a_directory_nor_a_pipe_nor_nothing_is_damaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, expected in (("", IsADirectoryError), ("pipe", SpillError), ("gone", FileNotFoundError)):
        with pytest.raises(expected) as caught:
            inspect_file(tmp_path / name)
        assert isinstance(caught.value, (SpillError, OSError))
        assert not is_damage(caught.value)
