"""Rows taken out of columns in partition order: the compiled functions write what those in numpy write."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.arrays import gather
from shuffle.arrays.gather import Runs
from shuffle.native import compiled

NATIVE = compiled("gather") or gather


def int64s(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


def runs_of(order: list[int], starts: list[int], **more: Any) -> Runs:
    return Runs(np.array(order, np.uint32), np.array(starts, np.int64), **more)


@pytest.fixture(params=[gather, NATIVE], ids=["numpy", "native"])
def functions(request: pytest.FixtureRequest) -> ModuleType:
    functions: ModuleType = request.param
    return functions


def test_values_go_where_their_run_goes(functions: ModuleType) -> None:
    out = np.zeros(6, np.uint16)
    values = np.array([10, 11, 12, 13], np.uint16)
    functions.gather_values(values, 2, runs_of([3, 0, 2], [0, 1, 3]), int64s(8, 2), out.view(np.uint8))
    assert out.tolist() == [0, 10, 12, 0, 13, 0]


def test_bits_are_put_behind_those_that_are_there(functions: ModuleType) -> None:
    out = np.array([0b11111111, 0b11111111], np.uint8)
    functions.gather_bits(np.array([0b1010], np.uint8), 1, runs_of([0, 1, 2], [0, 3]), int64s(3), out)
    assert out.tolist() == [0b00101111, 0b11111111]


def test_offsets_begin_with_the_bytes_that_are_there(functions: ModuleType) -> None:
    offsets, texts = np.array([0, 2, 2, 5], np.int32), b"abcde"
    runs, bases, out = runs_of([2, 0], [0, 2]), int64s(3), np.zeros(32, np.uint8)
    functions.gather_texts(offsets, 4, texts, runs, int64s(0), int64s(16), int64s(24), bases, out)
    assert out[:12].view(np.int32).tolist() == [3, 6, 8]
    assert out[19:24].tobytes() == b"cdeab"
    assert bases.tolist() == [8]


def test_a_row_without_a_value_is_zeroes_or_an_empty_text(functions: ModuleType) -> None:
    runs = runs_of([1, 0], [0, 2], codes=np.array([1, 0], np.uint8), code_width=1, valid=np.array([True, False]))
    out, sums = np.full(8, 9, np.uint8), int64s(0)
    functions.gather_values(np.array([5, 6], np.uint32), 4, runs, int64s(0), out)
    assert out.view(np.uint32).tolist() == [0, 6]
    functions.text_lengths(np.array([0, 7, 9], np.int64), 8, runs, sums)
    assert sums.tolist() == [2]


WRONG: dict[str, tuple[str, tuple[Any, ...]]] = {
    "no such row": ("gather_values", (bytes(8), 4, runs_of([2], [0, 1]), int64s(0), np.zeros(4, np.uint8))),
    "place before": ("gather_values", (bytes(8), 4, runs_of([1], [0, 1]), int64s(-4), np.zeros(4, np.uint8))),
    "place behind": ("gather_values", (bytes(8), 4, runs_of([1], [0, 1]), int64s(4), np.zeros(4, np.uint8))),
    "too few places": ("gather_values", (bytes(8), 4, runs_of([1], [0, 1]), int64s(), np.zeros(4, np.uint8))),
    "a width of nothing": ("gather_values", (bytes(8), 0, runs_of([1], [0, 1]), int64s(0), np.zeros(4, np.uint8))),
    "a run that overruns": ("gather_values", (bytes(8), 4, runs_of([1], [0, 2]), int64s(0), np.zeros(8, np.uint8))),
    "a run backwards": ("gather_values", (bytes(8), 4, runs_of([1], [0, 1, 0]), int64s(0, 0), np.zeros(8, np.uint8))),
    "no such code": (
        "gather_values",
        (bytes(8), 4, runs_of([0], [0, 1], codes=np.array([7]), code_width=8), int64s(0), np.zeros(4, np.uint8)),
    ),
    "a code of three bytes": (
        "gather_values",
        (bytes(8), 4, runs_of([0], [0, 1], codes=np.zeros(3, "u1"), code_width=3), int64s(0), np.zeros(4, np.uint8)),
    ),
    "no such bit": ("gather_bits", (bytes(1), 0, runs_of([8], [0, 1]), int64s(0), np.zeros(1, np.uint8))),
    "bits behind": ("gather_bits", (bytes(1), 0, runs_of([1], [0, 1]), int64s(8), np.zeros(1, np.uint8))),
    "offsets of six bytes": ("text_lengths", (bytes(12), 6, runs_of([0], [0, 1]), int64s(0))),
    "offsets that fall": ("text_lengths", (np.array([5, 3], np.int32), 4, runs_of([0], [0, 1]), int64s(0))),
    "no such text": ("text_lengths", (np.array([0, 3], np.int32), 4, runs_of([1], [0, 1]), int64s(0))),
    "texts behind their data": (
        "gather_texts",
        (
            np.array([0, 9], np.int32), 4, b"abc", runs_of([0], [0, 1]),
            int64s(0), int64s(8), int64s(20), int64s(0), np.zeros(24, np.uint8),
        ),
    ),
    "texts behind their place": (
        "gather_texts",
        (
            np.array([0, 3], np.int32), 4, b"abc", runs_of([0], [0, 1]),
            int64s(0), int64s(8), int64s(10), int64s(0), np.zeros(24, np.uint8),
        ),
    ),
}  # fmt: skip


@pytest.mark.skipif(NATIVE is gather, reason="numpy's functions answer with errors of their own")
@pytest.mark.parametrize(("name", "arguments"), WRONG.values(), ids=WRONG)
def test_what_is_out_of_bounds_is_an_error_and_no_wild_pointer(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="a row or a place is out of bounds"):
        getattr(NATIVE, name)(*arguments)


def test_texts_that_overrun_their_place_are_refused_by_numpy_too() -> None:
    with pytest.raises(ValueError, match="texts that do not fit"):
        gather.gather_texts(*WRONG["texts behind their place"][1])


@pytest.mark.skipif(NATIVE is gather, reason="they take apart what they get without looking")
@pytest.mark.parametrize("wrong", [(1, 2), None])
def test_runs_of_another_form_are_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        NATIVE.gather_values(bytes(8), 4, wrong, int64s(0), np.zeros(4, np.uint8))


@st.composite
def columns(draw: st.DrawFn) -> tuple[Runs, int]:
    """Runs over a column, and how many values the column has."""
    row_count = draw(st.integers(1, 700))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = random.permutation(row_count).astype(np.uint32)
    run_count = draw(st.integers(1, 9))
    starts = np.concatenate([[0], np.sort(random.integers(0, row_count + 1, run_count - 1)), [row_count]])
    width = draw(st.sampled_from([0, 1, 2, 4, 8]))
    value_count = draw(st.integers(1, 200)) if width else row_count
    codes = random.integers(0, value_count, row_count).astype(f"u{width}") if width else None
    valid = random.random(row_count) < 0.7 if draw(st.booleans()) else None
    return Runs(order, starts.astype(np.int64), codes, width, valid), value_count


def both(name: str, arguments: list[Any], written: list[int]) -> None:
    """Call both functions; what they write into these arguments is the same."""
    theirs = [argument.copy() if number in written else argument for number, argument in enumerate(arguments)]
    getattr(gather, name)(*arguments)
    getattr(NATIVE, name)(*theirs)
    for number in written:
        np.testing.assert_array_equal(arguments[number], theirs[number])


@given(columns(), st.sampled_from([1, 2, 4, 8, 16, 3, 12, 32]), st.randoms(use_true_random=False))
def test_values_are_the_same(column: tuple[Runs, int], width: int, random: Any) -> None:
    runs, value_count = column
    values = np.frombuffer(random.randbytes(value_count * width), np.uint8)
    places = runs.starts[:-1] * width + 8 * np.arange(len(runs.starts) - 1)
    out = np.zeros(len(runs.order) * width + 8 * len(places), np.uint8)
    both("gather_values", [values, width, runs, places, out], [4])


@given(columns(), st.integers(0, 17), st.randoms(use_true_random=False))
def test_bits_are_the_same(column: tuple[Runs, int], first: int, random: Any) -> None:
    runs, value_count = column
    bits = np.frombuffer(random.randbytes((value_count + first + 7) // 8), np.uint8)
    places = runs.starts[:-1] + 13 * np.arange(len(runs.starts) - 1)
    out = np.zeros(len(runs.order) // 8 + 2 * len(places) + 2, np.uint8)
    both("gather_bits", [bits, first, runs, places, out], [4])


@given(columns(), st.sampled_from([4, 8]), st.sampled_from([0, 2, 9, 40, 200]), st.randoms(use_true_random=False))
def test_texts_are_the_same(column: tuple[Runs, int], width: int, longest: int, random: Any) -> None:
    runs, value_count = column
    lengths = np.array([random.randint(0, longest) for _ in range(value_count)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(f"i{width}")
    texts = np.frombuffer(random.randbytes(int(offsets[-1])), np.uint8)
    sums = np.zeros(len(runs.starts) - 1, np.int64)
    both("text_lengths", [offsets, width, runs, sums], [3])
    offset_places = runs.starts[:-1] * width + width * np.arange(len(sums))
    first = (len(runs.order) + len(sums)) * width
    stops = first + np.cumsum(sums)
    out = np.zeros(first + int(sums.sum()), np.uint8)
    arguments = [offsets, width, texts, runs, offset_places, stops - sums, stops, np.zeros_like(sums), out]
    both("gather_texts", arguments, [7, 8])
