"""Runs of several files, read at once into pieces of a buffer."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shuffle.machine.kernel import Runs, SystemKernel
from shuffle.merging.sources import Source, SourceDescriptors
from shuffle.native import SWITCH, compiled
from shuffle.testing.opaque import OpaqueSources

FILE_COUNT = 3
FILE_BYTES = 10_000
CONTENTS = [np.random.default_rng(seed).bytes(FILE_BYTES) for seed in range(FILE_COUNT)]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    descriptors = []
    for number, content in enumerate(CONTENTS):
        (tmp_path / str(number)).write_bytes(content)
        descriptors.append(os.open(tmp_path / str(number), os.O_RDONLY))
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def numbers(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def runs_of(files: list[int], offsets: list[int], starts: list[int], places: list[int], lengths: list[int]) -> Runs:
    return Runs(np.array(files, np.int32), numbers(*offsets), numbers(*starts), numbers(*places), numbers(*lengths))


def read(runs: Runs, buffer: bytearray) -> tuple[int, int]:
    if compiled("reading") is None:
        pytest.skip("there was no compiler when the project was installed")
    return SystemKernel().pread_runs(runs, memoryview(buffer))


@pytest.mark.parametrize("seed", range(20))
def test_pieces_get_the_bytes_of_their_runs(files: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 1 + 2500 * (seed % 2) + 5, 12)  # beyond 1,024 a run takes several calls
    starts = numbers(0, *np.cumsum(counts))
    lengths = random.integers(0, 4, starts[-1])
    places = np.empty_like(lengths)
    order = random.permutation(len(lengths))
    places[order] = np.cumsum(lengths[order]) - lengths[order]
    sources = random.integers(0, FILE_COUNT, len(counts))
    ends = numbers(0, *np.cumsum(lengths))
    sizes = np.diff(ends[starts])
    offsets = random.integers(0, FILE_BYTES - sizes + 1)
    buffer, expected = bytearray(int(ends[-1])), bytearray(int(ends[-1]))
    for run, source in enumerate(sources):
        for piece in range(starts[run], starts[run + 1]):
            at = offsets[run] + ends[piece] - ends[starts[run]]
            expected[places[piece] : places[piece] + lengths[piece]] = CONTENTS[source][at : at + lengths[piece]]

    done = read(Runs(np.array(files, np.int32)[sources], offsets, starts, places, lengths), buffer)

    assert done == (len(counts), int(np.sum(-(-counts // 1024))))
    assert buffer == expected


def test_it_stops_at_the_first_run_that_is_cut_short(files: list[int]) -> None:
    buffer = bytearray(30)
    runs = runs_of(files, [5, FILE_BYTES - 9, 0], [0, 1, 2, 3], [0, 10, 20], [10, 10, 10])
    assert read(runs, buffer) == (1, 2)
    assert buffer[:10] == CONTENTS[0][5:15]
    assert buffer[20:] == bytes(10)


def test_it_stops_at_a_file_that_cannot_be_read(files: list[int], tmp_path: Path) -> None:
    writable = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    try:
        assert read(runs_of([files[0], writable], [0, 0], [0, 1, 2], [0, 5], [5, 5]), bytearray(10)) == (1, 2)
    finally:
        os.close(writable)


def test_there_may_be_nothing_to_read(files: list[int]) -> None:
    assert read(runs_of([], [], [0], [], []), bytearray()) == (0, 0)
    assert read(runs_of(files[:1], [0], [0, 0], [], []), bytearray()) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"places": numbers(0, 8)},
        {"places": numbers(-1, 5)},
        {"places": numbers(0, 1 << 62)},
        {"lengths": numbers(5, -5)},
        {"lengths": numbers(5, (1 << 63) - 1)},
        {"lengths": numbers(5)},
        {"starts": numbers(0, 2, 1)},
        {"starts": numbers(0, 1, 3)},
        {"starts": numbers(1, 1, 2)},
        {"starts": numbers(0, 2)},
        {"offsets": numbers(0)},
    ],
    ids=str,
)
def test_a_piece_outside_of_the_buffer_is_refused(files: list[int], wrong: dict[str, Any]) -> None:
    runs = runs_of(files[:2], [0, 0], [0, 1, 2], [0, 5], [5, 5])._replace(**wrong)
    with pytest.raises(ValueError, match="a piece is not in the buffer"):
        read(runs, bytearray(10))


def test_nothing_is_read_at_once_where_that_is_switched_off(monkeypatch: pytest.MonkeyPatch, files: list[int]) -> None:
    monkeypatch.setenv(SWITCH, "off")
    runs = runs_of(files[:1], [0], [0, 1], [0], [5])
    assert SystemKernel().pread_runs(runs, memoryview(bytearray(5))) == (0, 0)


def test_sources_are_open_together_where_so_many_may_be(tmp_path: Path) -> None:
    sources: list[Source] = OpaqueSources(tmp_path, [[3], [4], [5]]).sources
    with SourceDescriptors(sources, 2) as descriptors:
        assert descriptors.descriptors([0, 1, 2]) is None
        together = descriptors.descriptors([2, 0, 2])
        assert together is not None
        assert [os.fstat(descriptor).st_size for descriptor in together] == [5, 3, 5]
        assert descriptors.descriptors([1, 0]) == [descriptors.descriptor(1), descriptors.descriptor(0)]
