"""Offsets and lengths beyond 2 and 4 GiB, in sparse files: what a 32-bit number anywhere would get wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from shuffle import MergeOptions, merge
from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy.job import CopyJob, Target
from shuffle.merging.copy.ladder import METHODS, copy_span
from shuffle.merging.plan import plan_merge
from shuffle.merging.sources import SourceDescriptors
from shuffle.options import MethodName
from shuffle.testing.opaque import opaque_source
from spill_format.layout import PartitionLayout
from spill_format.spark.outputs import encode_index

BLOCK = 4096
GIB = 1 << 30
# A range beyond 4 GiB, one beyond 2 GiB, and small ones behind them.
LENGTHS = [[5 * GIB, BLOCK, 3 * GIB], [2 * GIB + BLOCK, 0, 7 * BLOCK]]


def sparse_file(path: Path, layout: PartitionLayout) -> list[int]:
    """A file of holes, but for marks that say where they are; the offsets of the marks."""
    borders = {int(offset) for offset in layout.offsets} | {2 * GIB, 4 * GIB}
    marks = sorted(
        {place for border in borders for place in (border - BLOCK, border) if 0 <= place < layout.offsets[-1]}
    )
    with path.open("wb") as file:
        os.truncate(path, int(layout.offsets[-1]))
        for mark in marks:
            os.pwrite(file.fileno(), f"{path.name} at {mark}".encode().ljust(100, b"."), mark)
    return marks


def sparse_sources(directory: Path) -> tuple[list[PartitionLayout], list[list[int]]]:
    layouts = [PartitionLayout(np.cumsum([0, *lengths], dtype=np.int64)) for lengths in LENGTHS]
    marks = [sparse_file(directory / f"{number}.data", layout) for number, layout in enumerate(layouts)]
    return layouts, marks


def place_in_target(layouts: list[PartitionLayout], source: int, offset: int) -> int:
    """Where a byte of a source must be in the target, computed apart from the plan."""
    partition = int(np.searchsorted(layouts[source].offsets, offset, side="right")) - 1
    before = sum(int(layout.offsets[partition]) for layout in layouts)
    ahead = sum(int(layout.lengths[partition]) for layout in layouts[:source])
    return before + ahead + offset - int(layouts[source].offsets[partition])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "clone"])
def test_what_lies_beyond_is_copied_to_beyond(tmp_path: Path, method: MethodName) -> None:
    # Only what is around the marks is copied: holes would be written out as gigabytes of zeroes.
    layouts, marks = sparse_sources(tmp_path)
    plan = plan_merge(layouts)
    sources = [opaque_source(tmp_path / f"{number}.data", layout) for number, layout in enumerate(layouts)]
    with (tmp_path / "target").open("w+b") as target, SourceDescriptors(sources, 10) as descriptors:
        job = CopyJob(SystemKernel(), plan, descriptors, Target(target.fileno(), "target"))
        for source, offsets in enumerate(marks):
            for offset in offsets:
                place = place_in_target(layouts, source, offset)
                result = copy_span(job, [method], place, place + BLOCK)
                assert result.methods[method].byte_count == BLOCK
                assert os.pread(target.fileno(), 100, place).strip(b".") == f"{source}.data at {offset}".encode()


@pytest.mark.mount
def test_ranges_beyond_4_gib_are_shared_whole(xfs_dir: Path) -> None:
    layouts, marks = sparse_sources(xfs_dir)
    for number, layout in enumerate(layouts):
        (xfs_dir / f"{number}.index").write_bytes(encode_index(layout.offsets))
    report = merge([xfs_dir / "0.data", xfs_dir / "1.data"], xfs_dir / "merged.data", MergeOptions(method="clone"))
    # Source 0 goes on from partition 1 to 2 without a break; the last seven blocks are too few to be worth a clone.
    assert report.methods["clone"].byte_count == 10 * GIB + 2 * BLOCK
    assert report.byte_count == (xfs_dir / "merged.data").stat().st_size == sum(map(sum, LENGTHS))
    with (xfs_dir / "merged.data").open("rb") as merged:
        for source, offsets in enumerate(marks):
            for offset in offsets:
                content = os.pread(merged.fileno(), 100, place_in_target(layouts, source, offset))
                assert content.strip(b".") == f"{source}.data at {offset}".encode()
