"""Which bytes of a representation a request wants: conditional and range requests (RFC 9110, sections 13 and 14). Pure.

Several ranges in one request are answered with the whole, as the RFC allows: a broken download has one rest.
"""
# PURE

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')


class Selection(NamedTuple):
    """What is to be answered.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        start, stop: the bytes ``[start, stop)`` of the representation; none of them unless the status is 200 or 206.
    """

    status: int
    start: int
    stop: int


def evaluate(headers: Mapping[str, str], entity_tag: str, byte_count: int) -> Selection:
    """What a GET or HEAD of a representation is answered with.

    Args:
        headers: of the request; their names are looked up as RFC 9110 writes them.
        entity_tag: of the representation, strong, with its quotation marks.
        byte_count: its length.
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
        return whole  # not a valid range: to be ignored
    return Selection(206, start, stop) if start < stop else Selection(416, 0, 0)


def _resolved(first: str, last: str, byte_count: int) -> tuple[int, int]:
    if not first:  # the last so many bytes
        return max(0, byte_count - int(last)), byte_count
    return int(first), min(int(last) + 1, byte_count) if last else byte_count


def _matches(field: str, entity_tag: str, *, weakly: bool) -> bool:
    if field.strip() == "*":
        return True
    candidates = _ENTITY_TAG.finditer(field)
    return any(match[1] == entity_tag and (weakly or not match[0].startswith("W/")) for match in candidates)
