"""What is found out about files: sizes, skew, codecs, and damage wherever it is."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from shuffle import merge
from shuffle.inspecting.results import Failure
from shuffle.inspecting.sizes import combined
from shuffle.merging.copy.choice import CLONED_BYTES
from spill_format import SpillFile, SpillWriter
from spill_format.errors import CorruptError, NotPartitionedError, SpillError, TruncatedError
from tests.helpers.inspections import inspected
from tests.helpers.spills import SCHEMA, batch_of, random_spill


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
    path = random_spill(tmp_path / "a.spill.arrow", [25_000, 0, 5], alignment=4096)
    inspection = inspected(path)
    with SpillFile(path) as spill:
        assert inspection.byte_count == os.path.getsize(path)
        assert inspection.alignment == 4096
        assert inspection.sizes.byte_counts.tolist() == np.diff(spill.layout.offsets).tolist()
        assert [each["batch_count"] for each in inspection.sizes.listed()] == [3, 0, 1] == spill.batch_counts.tolist()
    assert [each["row_count"] for each in inspection.sizes.listed()] == [25_000, 0, 5]
    assert inspection.as_dict()["row_count"] == 25_005


@pytest.mark.parametrize(
    ("codecs", "found"),
    [([None], ("none",)), (["lz4"], ("lz4",)), (["zstd"], ("zstd",)), (["zstd", None, "lz4"], ("none", "lz4", "zstd"))],
)
def test_codecs_are_told_also_of_a_merge_of_different_ones(
    tmp_path: Path, codecs: list[Literal["lz4", "zstd"] | None], found: tuple[str, ...]
) -> None:
    sources = [with_codec(tmp_path / f"{number}.spill.arrow", codec) for number, codec in enumerate(codecs)]
    merge(sources, tmp_path / "merged.arrow")
    assert inspected(tmp_path / "merged.arrow").codecs == found


def test_a_file_without_rows_has_no_codec(tmp_path: Path) -> None:
    inspection = inspected(random_spill(tmp_path / "empty.spill.arrow", [0, 0, 0]))
    assert inspection.codecs == ()
    assert inspection.sizes.empty_count == 3
    assert inspection.sizes.skew is None


def test_files_together_have_the_sizes_of_their_merge(tmp_path: Path) -> None:
    sources = [random_spill(tmp_path / f"{n}.spill.arrow", rows) for n, rows in enumerate([[9, 0, 70], [0, 0, 5]])]
    merge(sources, tmp_path / "merged.arrow")
    together = combined([inspected(path).sizes for path in sources])
    assert together is not None
    assert together.as_dict() == inspected(tmp_path / "merged.arrow").sizes.as_dict()


@pytest.mark.parametrize(("alignment", "is_cloneable"), [(64, False), (4096, True), (8192, True)])
def test_a_merge_clones_large_ranges_of_whole_blocks(tmp_path: Path, alignment: int, is_cloneable: bool) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [20_000, 0, 5, 30_000], alignment=alignment)
    inspection = inspected(path)
    large = [length for length in inspection.sizes.byte_counts.tolist() if length >= CLONED_BYTES]
    assert len(large) == 2
    assert inspection.cloneable_bytes == (sum(large) if is_cloneable else 0)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
def test_a_cut_file_is_damaged_at_any_length(tmp_path: Path, kept: int) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TruncatedError) as caught:
        inspected(path)
    assert Failure("", caught.value).state == "damaged"


def test_a_file_with_one_magic_is_damaged_and_with_none_is_another_kind_of_file(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    damaged(path, 0)
    with pytest.raises(CorruptError):
        inspected(path)
    damaged(path, os.path.getsize(path) - 1)
    with pytest.raises(SpillError, match="not an Arrow IPC file") as caught:
        inspected(path)
    assert Failure("", caught.value).state == "unreadable"


def test_an_arrow_file_without_an_index_is_not_damaged(tmp_path: Path) -> None:
    with pa.ipc.new_file(tmp_path / "plain.arrow", SCHEMA) as writer:
        writer.write_batch(batch_of(np.arange(3)))
    with pytest.raises(NotPartitionedError) as caught:
        inspected(tmp_path / "plain.arrow")
    assert Failure("", caught.value).state == "unreadable"


def test_neither_a_directory_nor_a_pipe_nor_nothing_is_damaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, expected in (("", IsADirectoryError), ("pipe", SpillError), ("gone", FileNotFoundError)):
        with pytest.raises(expected) as caught:
            inspected(tmp_path / name)
        assert isinstance(caught.value, (SpillError, OSError))
        assert Failure("", caught.value).state == "unreadable"
