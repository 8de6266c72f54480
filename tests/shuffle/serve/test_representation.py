"""Cutting an answer's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from shuffle.serve.catalog import ServedFile
from shuffle.serve.representation import FileSpan, Segment, cut, joined

CONTENT = bytes(range(256))
FILE = cast(ServedFile, "a file that is never opened")

SEGMENTS = st.lists(
    st.binary(max_size=20)
    | st.tuples(st.integers(0, 200), st.integers(0, 50)).map(lambda pair: FileSpan(FILE, pair[0], sum(pair))),
    max_size=6,
)


def content_of(segments: list[Segment]) -> bytes:
    return b"".join(CONTENT[s.start : s.stop] if isinstance(s, FileSpan) else s for s in segments)


@given(SEGMENTS, st.integers(0, 250), st.integers(0, 250))
def test_cutting_segments_cuts_their_bytes(segments: list[Segment], first: int, last: int) -> None:
    parts = list(cut(segments, first, last))
    assert content_of(parts) == content_of(segments)[first : max(first, last)]


@given(SEGMENTS)
def test_joining_segments_keeps_their_bytes_and_the_spans_of_files(segments: list[Segment]) -> None:
    parts = list(joined(segments))
    assert content_of(parts) == content_of(segments)
    assert [part for part in parts if isinstance(part, FileSpan)] == [s for s in segments if isinstance(s, FileSpan)]
    assert not any(isinstance(one, bytes) and isinstance(other, bytes) for one, other in pairwise(parts))


def test_a_span_is_the_last_that_is_asked_for_before_it_is_taken() -> None:
    asked: Iterator[Segment] = iter([b"a", b"b", FileSpan(FILE, 0, 9), b"c"])
    taken = joined(asked)
    assert next(taken) == b"ab"
    assert next(taken) == FileSpan(FILE, 0, 9)
    assert next(asked) == b"c"
