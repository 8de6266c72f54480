"""Advice is given where sizes call for it, with the figure that it follows from, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from shuffle.cli.advice import advise
from shuffle.inspecting.arrow import ArrowInspection
from shuffle.inspecting.sizes import PartitionSizes, combined
from shuffle.machine.file_systems import FileSystem

KIB, MIB = 1 << 10, 1 << 20


def file_of(byte_counts: Sequence[int], alignment: int = 64, *, shares_blocks: bool = False) -> ArrowInspection:
    sizes = np.array(byte_counts, dtype=np.int64)
    return ArrowInspection(
        path="a.arrow",
        byte_count=int(sizes.sum()) + 1000,
        alignment=alignment,
        codecs=("none",),
        sizes=PartitionSizes(sizes, sizes // 8, (sizes > 0).astype(np.int64)),
        partitioner=None,
        file_system=FileSystem("xfs" if shares_blocks else "ext4", 1, 4096, shares_blocks, remote=False),
    )


CASES = {
    "even and large": ([file_of([MIB] * 10)], []),
    "tiny": ([file_of([KIB] * 10)], []),
    "nothing": ([file_of([0] * 10)], []),
    "one skewed": ([file_of([MIB] * 9 + [50 * MIB])], ["skew: 1 partition of 5 times the median or more (9) has 85%"]),
    "many skewed": ([file_of([MIB] * 20 + [9 * MIB] * 5)], ["skew: 5 partitions of 5 times the median"]),
    "small ranges of one file": ([file_of([10 * KIB] * 1000)], ["small ranges: 1,000 of 10.0 KiB on average"]),
    "small ranges of many files": ([file_of([10 * KIB] * 1000)] * 3, ["merge them before they are read"]),
    "mostly empty": ([file_of([MIB] * 4 + [0] * 16)], ["empty partitions: 16 of 20"]),
    "blocks could be shared": ([file_of([MIB] * 4, shares_blocks=True)], ["--alignment 4096, 4.0 MiB could be cloned"]),
    "blocks are shared": ([file_of([MIB] * 4, 4096, shares_blocks=True)], []),
    "ranges too small to share": ([file_of([100 * KIB] * 40, shares_blocks=True)], []),
    "several": ([file_of([KIB] * 3000 + [50 * MIB] + [0] * 9000)], ["skew: 1 partition", "small ranges", "empty"]),
}


@pytest.mark.parametrize(("files", "beginnings"), CASES.values(), ids=CASES.keys())
def test_advice_follows_from_sizes(files: list[ArrowInspection], beginnings: list[str]) -> None:
    advice = advise(files, combined([file.sizes for file in files]))
    assert len(advice) == len(beginnings), advice
    for sentence, beginning in zip(advice, beginnings, strict=True):
        assert beginning in sentence


def test_files_that_do_not_fit_together_are_advised_on_each_range() -> None:
    files = [file_of([10 * KIB] * 200), file_of([10 * KIB] * 300)]
    (sentence,) = advise(files, None)
    assert sentence.startswith("small ranges: 500 of ")
    assert advise([], None) == []
