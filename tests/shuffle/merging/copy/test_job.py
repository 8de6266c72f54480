"""The pieces of a span tile it, whatever its borders; and what a job tells meanwhile."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy import job as job_module
from shuffle.merging.copy.job import PIECE_BYTES, CancelledError, CopyJob, Piece, Target
from shuffle.merging.plan import plan_merge
from shuffle.merging.sources import SourceDescriptors
from shuffle.testing.opaque import OpaqueSources
from spill_format.layout import PartitionLayout


def job_of(layouts: list[PartitionLayout], first_offset: int = 0) -> CopyJob:
    plan = plan_merge(layouts, first_offset)
    return CopyJob(SystemKernel(), plan, SourceDescriptors([], 1), Target(-1, "target"))


def layout_of(*lengths: int) -> PartitionLayout:
    return PartitionLayout(np.cumsum([8, *lengths], dtype=np.int64))


SMALL_AND_HUGE = [
    layout_of(0, 5, 3 * PIECE_BYTES + 1, 0, 1),
    layout_of(1, 0, PIECE_BYTES, 7, 0),
    layout_of(2, 2, 2 * PIECE_BYTES, 0, 0),
]


@given(st.data())
def test_the_pieces_of_every_span_tile_it_and_say_where_their_bytes_are(data: st.DataObject) -> None:
    job = job_of(SMALL_AND_HUGE, 64)
    plan = job.plan
    near_borders = st.sampled_from(plan.positions.tolist()).flatmap(lambda border: st.integers(border - 3, border + 3))
    places = st.one_of(near_borders, st.integers(plan.start, plan.stop)).map(
        lambda place: min(max(place, plan.start), plan.stop)
    )
    start, stop = sorted((data.draw(places), data.draw(places)))
    position = start
    for piece in job.pieces(start, stop):
        assert piece.position == position
        assert 0 < piece.byte_count <= PIECE_BYTES
        segment = int(np.searchsorted(plan.positions, position, side="right")) - 1
        assert piece.source == plan.sources[segment]
        assert piece.source_offset - plan.source_offsets[segment] == position - plan.positions[segment]
        position += piece.byte_count
        assert position <= plan.positions[segment + 1]
    assert position == stop


def test_more_segments_than_are_turned_into_pieces_at_once() -> None:
    partition_count = 3 * job_module._BLOCK_SEGMENTS
    offsets = np.arange(partition_count + 1, dtype=np.int64)
    job = job_of([PartitionLayout(offsets), PartitionLayout(offsets.copy())])
    expected = [
        Piece(source, partition, 2 * partition + source, 1)
        for partition in range(partition_count)
        for source in range(2)
    ]
    assert list(job.pieces(0, job.plan.stop)) == expected
    assert list(job.pieces(5, job.plan.stop - 3)) == expected[5:-3]


@pytest.mark.parametrize(("start", "stop"), [(64, None), (64, 70), (100, 5 * PIECE_BYTES), (66, 66)])
def test_progress_sums_up_to_the_bytes_of_the_span(start: int, stop: int | None) -> None:
    told: list[int] = []
    job = job_of(SMALL_AND_HUGE, 64)
    job.progress = told.append
    stop = job.plan.stop if stop is None else stop
    for piece in job.pieces(start, stop):
        assert sum(told) <= piece.position - start
    assert sum(told) == stop - start


def test_a_job_gives_up_when_another_thread_has_failed() -> None:
    job = job_of(SMALL_AND_HUGE)
    job.cancelled = threading.Event()
    pieces = job.pieces(job.plan.start, job.plan.stop)
    next(pieces)
    job.cancelled.set()
    with pytest.raises(CancelledError):
        list(pieces)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with OpaqueSources(tmp_path, [[10]]).job() as job:
        (tmp_path / "source-0").unlink()
        with pytest.raises(FileNotFoundError, match="source-0"):
            job.read(0, memoryview(bytearray(1)), 0)
