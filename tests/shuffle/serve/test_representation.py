"""Cutting an answer's bytes."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from shuffle.serve.catalog import ServedFile
from shuffle.serve.representation import FileSpan, Segment, byte_count_of, cut

CONTENT = bytes(range(256))
FILE = cast(ServedFile, "a file that is never opened")

SEGMENTS = st.lists(
    st.binary(max_size=20)
    | st.tuples(st.integers(0, 200), st.integers(0, 50)).map(lambda pair: FileSpan(FILE, pair[0], sum(pair))),
    max_size=6,
)


def content_of(segments: list[Segment]) -> bytes:
    return b"".join(CONTENT[s.start : s.end] if isinstance(s, FileSpan) else s for s in segments)


@given(SEGMENTS, st.integers(0, 250), st.integers(0, 250))
def test_cutting_segments_cuts_their_bytes(segments: list[Segment], first: int, last: int) -> None:
    parts = list(cut(segments, first, last))
    assert content_of(parts) == content_of(segments)[first : max(first, last)]
    assert byte_count_of(parts) == len(content_of(parts))
