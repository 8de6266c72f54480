"""Conditional and range requests, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.serve.conditions import Selection, evaluate

TAG = '"a-1"'
WHOLE = Selection(200, 0, 100)


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, WHOLE),
        ({"If-None-Match": TAG}, Selection(304, 0, 0)),
        ({"If-None-Match": f'"x", W/{TAG}'}, Selection(304, 0, 0)),
        ({"If-None-Match": "*"}, Selection(304, 0, 0)),
        ({"If-None-Match": '"b"'}, WHOLE),
        ({"If-None-Match": "a-1"}, WHOLE),
        ({"If-Match": TAG}, WHOLE),
        ({"If-Match": f'"x",{TAG}'}, WHOLE),
        ({"If-Match": "*"}, WHOLE),
        ({"If-Match": f"W/{TAG}"}, Selection(412, 0, 0)),
        ({"If-Match": '"b"', "Range": "bytes=0-1"}, Selection(412, 0, 0)),
        ({"Range": "bytes=0-0"}, Selection(206, 0, 1)),
        ({"Range": "bytes=10-19"}, Selection(206, 10, 20)),
        ({"Range": "BYTES=10-"}, Selection(206, 10, 100)),
        ({"Range": "bytes=90-500"}, Selection(206, 90, 100)),
        ({"Range": "bytes=-10"}, Selection(206, 90, 100)),
        ({"Range": "bytes=-500"}, Selection(206, 0, 100)),
        ({"Range": "bytes=100-"}, Selection(416, 0, 0)),
        ({"Range": "bytes=9999999999999999999-"}, Selection(416, 0, 0)),
        ({"Range": "bytes=-0"}, Selection(416, 0, 0)),
        ({"Range": "bytes=5-4"}, WHOLE),
        ({"Range": "bytes=-"}, WHOLE),
        ({"Range": "bytes=0-1,5-6"}, WHOLE),
        ({"Range": "bytes=\u0661-\u0662"}, WHOLE),
        ({"Range": "lines=0-1"}, WHOLE),
        ({"Range": "0-1"}, WHOLE),
        ({"Range": "bytes=50-", "If-Range": TAG}, Selection(206, 50, 100)),
        ({"Range": "bytes=50-", "If-Range": '"b"'}, WHOLE),
        ({"Range": "bytes=50-", "If-Range": f"W/{TAG}"}, WHOLE),
        ({"Range": "bytes=50-", "If-Range": "Sat, 29 Oct 1994 19:43:31 GMT"}, WHOLE),
        ({"Range": "bytes=50-", "If-None-Match": TAG}, Selection(304, 0, 0)),
    ],
)
def test_what_is_answered(headers: dict[str, str], answer: Selection) -> None:
    assert evaluate(headers, TAG, 100) == answer


@given(st.text(st.sampled_from("bytes=0123456789-, ")), st.integers(1, 1000))
def test_an_answer_never_leaves_the_representation(text: str, byte_count: int) -> None:
    answer = evaluate({"Range": text}, TAG, byte_count)
    assert answer.status in {200, 206, 416}
    assert 0 <= answer.start <= answer.stop <= byte_count
    assert (answer.start < answer.stop) == (answer.status != 416)
