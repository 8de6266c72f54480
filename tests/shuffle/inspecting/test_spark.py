"""Outputs in Spark's layout: sizes together, codecs by their magic, damage by checksums, each file with its layout."""

import os
from pathlib import Path

import numpy as np
import pytest

from shuffle.inspecting.sizes import PartitionSizes, combined
from shuffle.inspecting.spark import SparkFiles, opened_output
from shuffle.inspecting.verification import verify
from spill_format import TruncatedError
from spill_format.spark.outputs import paths_beside
from tests.helpers.inspections import verified
from tests.helpers.spark_files import write_spark

RANGES = [b"LZ4Block and more", b"", b"ZV\x00"]


def sizes_of(*byte_counts: int) -> PartitionSizes:
    return PartitionSizes(np.array(byte_counts, dtype=np.int64))


@pytest.mark.parametrize(
    ("sizes", "together"),
    [
        ([(1, 2), (30, 0)], [31, 2]),
        ([(1, 2)], [1, 2]),
        ([(1, 2), (1, 2, 3)], None),
        ([], None),
        ([(2**62,), (2**62,)], None),  # sparse files may have any size; no merge does
    ],
)
def test_sizes_are_put_together_where_a_merge_could(sizes: list[tuple[int, ...]], together: list[int] | None) -> None:
    found = combined([sizes_of(*each) for each in sizes])

    assert (None if found is None else found.byte_counts.tolist()) == together


def test_codecs_are_known_by_the_start_of_ranges(tmp_path: Path) -> None:
    found = SparkFiles.at(str(write_spark(tmp_path / "a.data", RANGES))).inspect()

    assert (found.codecs, found.checksums, found.byte_count) == (("lz4-block", "lzf"), "ADLER32", 20)


def test_an_output_of_empty_partitions_alone_is_sound(tmp_path: Path) -> None:
    paths = paths_beside(write_spark(tmp_path / "a.data", [b"", b""]))

    assert SparkFiles(paths).inspect().codecs == ()
    assert verify(paths.data).is_sound


def test_every_damaged_range_is_told(tmp_path: Path) -> None:
    data = write_spark(tmp_path / "a.data", [b"aa", b"bb", b"cc"])
    data.write_bytes(b"xabbxc")
    progress: list[int] = []
    found = verified(data, progress=progress.append)

    assert found.damaged_partitions.tolist() == [0, 2]
    assert sum(progress) == 6
    assert found.first_damage is not None
    assert (found.first_damage.partition, found.first_damage.offset) == (0, 0)


def test_an_output_is_opened_with_its_own_layout(tmp_path: Path) -> None:
    paths = paths_beside(write_spark(tmp_path / "a.data", RANGES))
    with opened_output(paths) as (descriptor, output):
        write_spark(tmp_path / "b.data", [b"another"])
        (tmp_path / "b.data").replace(tmp_path / "a.data")
        assert output.status is not None
        assert os.path.samestat(os.fstat(descriptor), output.status)
        assert os.pread(descriptor, 17, 0) == RANGES[0]

    with pytest.raises(TruncatedError, match="size of the data file"), opened_output(paths):
        pytest.fail("data that are not the index's were opened")
