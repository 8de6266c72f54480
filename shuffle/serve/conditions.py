"""Which bytes of a representation a request wants: conditional and range requests (RFC 9110, sections 13 and 14). Pure.

A request for several ranges gets the whole representation, as the RFC allows: a client that resumes asks for one range.
"""
# PURE

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')


class Selection(NamedTuple):
    """The status and the bytes that answer a request.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        start, stop: the bytes ``[start, stop)`` of the representation; both 0 unless the status is 200 or 206.
    """

    status: int
    start: int
    stop: int


def evaluate(headers: Mapping[str, str], entity_tag: str, byte_count: int) -> Selection:
    """Decide how to answer a GET or HEAD of a representation.

    Args:
        headers: header fields of the request, under the names that RFC 9110 writes.
        entity_tag: strong entity tag of the representation, with its quotation marks.
        byte_count: length of the representation.
    """
    if_match = headers.get("If-Match")
    if if_match is not None and not _matches(if_match, entity_tag, weakly=False):
        return Selection(412, 0, 0)
    if_none_match = headers.get("If-None-Match")
    if if_none_match is not None and _matches(if_none_match, entity_tag, weakly=True):
        return Selection(304, 0, 0)
    whole = Selection(200, 0, byte_count)
    wanted = headers.get("Range")
    if wanted is None or headers.get("If-Range", entity_tag).strip() != entity_tag:
        return whole
    match = _RANGE.fullmatch(wanted)
    if match is None or not (match[1] or match[2]):
        return whole
    start, stop = _resolved(match[1], match[2], byte_count)
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return whole  # RFC 9110 has servers ignore an invalid range
    return Selection(206, start, stop) if start < stop else Selection(416, 0, 0)


def _resolved(first: str, last: str, byte_count: int) -> tuple[int, int]:
    if not first:  # ``bytes=-N``: the last N bytes
        return max(0, byte_count - int(last)), byte_count
    return int(first), min(int(last) + 1, byte_count) if last else byte_count


def _matches(field: str, entity_tag: str, *, weakly: bool) -> bool:
    if field.strip() == "*":
        return True
    candidates = _ENTITY_TAG.finditer(field)
    return any(match[1] == entity_tag and (weakly or not match[0].startswith("W/")) for match in candidates)
