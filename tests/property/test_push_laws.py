"""Laws of merged partitions: whatever happened to their files, looking tells, and repairing gives what is sound."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from spill_format import CorruptError, SpillError
from spill_format.spark.pushed import read_pushed
from spill_format.spark.pushed_scan import pushed_paths_beside, scan_pushed
from tests.helpers.inspections import repaired_pushed
from tests.helpers.spark_files import write_pushed

SUFFIXES = (".data", ".index", ".meta")
Chunks = list[tuple[list[int], bytes]]


@st.composite
def chunks_of_maps(draw: st.DrawFn) -> Chunks:
    """Up to five chunks, each with more bytes than maps, and each map in one of them."""
    maps = draw(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=12))
    ends = sorted({0, *draw(st.lists(st.integers(0, len(maps)), max_size=4)), len(maps)})
    return [
        (sorted(maps[start:end]), draw(st.binary(min_size=end - start, max_size=40))) for start, end in pairwise(ends)
    ]


@contextmanager
def written(chunks: Chunks) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as home:
        yield write_pushed(Path(home) / "shuffleMerged_a_0_0_0.data", chunks)


def chunks_in(data: Path) -> Chunks:
    pushed = read_pushed(data)
    return [(list(maps), pushed.read(number)) for number, maps in enumerate(pushed.maps)]


@given(chunks_of_maps())
def test_what_is_written_is_sound_and_read_back(chunks: Chunks) -> None:
    with written(chunks) as data:
        assert chunks_in(data) == chunks
        assert scan_pushed(pushed_paths_beside(data)).defects == ()


@given(chunks_of_maps(), st.sampled_from(SUFFIXES), st.integers(0, 200))
def test_what_is_cut_off_anywhere_keeps_the_chunks_before(chunks: Chunks, suffix: str, size: int) -> None:
    with written(chunks) as data:
        path = data.with_suffix(suffix)
        path.write_bytes(path.read_bytes()[:size])
        kept = scan_pushed(pushed_paths_beside(data)).sound_chunk_count
        try:
            repaired_pushed(data, data.with_name("repaired.data"))
        except CorruptError:
            assert kept == 0
        else:
            assert chunks_in(data.with_name("repaired.data")) == chunks[:kept]


@given(chunks_of_maps(), st.sampled_from(SUFFIXES), st.integers(0, 2**16), st.binary(max_size=12), st.integers(0, 12))
def test_whatever_is_written_over_looking_never_fails_and_repairing_gives_what_is_sound(
    chunks: Chunks, suffix: str, place: int, other: bytes, removed: int
) -> None:
    with written(chunks) as data:
        path = data.with_suffix(suffix)
        content = path.read_bytes()
        place %= len(content) + 1
        path.write_bytes(content[:place] + other + content[place + removed :])
        before = [data.with_suffix(each).read_bytes() for each in SUFFIXES]
        scan = scan_pushed(pushed_paths_beside(data))
        try:
            repaired = repaired_pushed(data, data.with_name("repaired.data"))
        except SpillError:
            assert scan.defects
        else:
            assert len(chunks_in(data.with_name("repaired.data"))) == repaired.chunk_count
            assert repaired.lost_chunks == scan.damaged_chunks
        assert [data.with_suffix(each).read_bytes() for each in SUFFIXES] == before
