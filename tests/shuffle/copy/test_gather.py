"""Gathering, in each of the ways in which it fills a window, over more than one window."""

from pathlib import Path

import numpy as np
import pytest

from shuffle.copy import gather
from shuffle.copy.gather import copy_with_gather
from shuffle.testing import Always, Real, ScriptedKernel, Short
from tests.opaque import OpaqueSources

# Sources, partitions, and the largest of their random lengths.
SHAPES = {
    "more segments of a source in a window than one read may have": (2, 6000, 800),
    "many sources": (300, 40, 500),
    "segments larger than a window": (3, 2, 3 << 20),
    "few segments a window": (3, 20, 300_000),
    "one source": (1, 50_000, 100),
}


@pytest.mark.parametrize("permuted_bytes", [0, 1 << 40], ids=["scattered", "permuted"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_windows_of_every_shape_hold_the_targets_bytes(
    tmp_path: Path, shape: tuple[int, int, int], permuted_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "_PERMUTED_BYTES", permuted_bytes)
    sources = some_sources(tmp_path, shape)
    start, end = sources.plan.start, sources.plan.end
    with sources.job() as job:
        outcome = copy_with_gather(job, start, end)
    assert (outcome.position, outcome.stop) == (end, None)
    assert sources.written() == sources.merged


@pytest.mark.parametrize("permuted_bytes", [0, 1 << 40], ids=["scattered", "permuted"])
def test_short_reads_and_writes_go_on_where_they_ended(
    tmp_path: Path, permuted_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "_PERMUTED_BYTES", permuted_bytes)
    sources = some_sources(tmp_path, (5, 300, 100))
    kernel = ScriptedKernel({"pread": [Real(), Always(Short(33))], "pwrite": [Always(Short(1001))]})
    with sources.job(kernel) as job:
        copy_with_gather(job, sources.plan.start, sources.plan.end)
    assert kernel.unplayed == {}
    assert sources.written() == sources.merged


def test_a_window_takes_one_read_a_source_and_one_write(tmp_path: Path) -> None:
    sources = some_sources(tmp_path, (5, 300, 100))
    kernel = ScriptedKernel({})
    with sources.job(kernel) as job:
        outcome = copy_with_gather(job, sources.plan.start, sources.plan.end)
    assert kernel.call_counts == {"pread": 5, "pwrite": 1}
    assert outcome.system_calls == 6


def some_sources(directory: Path, shape: tuple[int, int, int]) -> OpaqueSources:
    source_count, partition_count, largest = shape
    lengths = np.random.default_rng(1).integers(0, largest, (source_count, partition_count), endpoint=True)
    lengths[:, ::7] = 0  # so that some segments of a source touch in the target too
    return OpaqueSources(directory, lengths.tolist(), 64)
