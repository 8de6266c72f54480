"""The resource that a URL names. Pure: the catalog tells whether the resource exists.

A path is decoded once, segment by segment; a path with an encoded separator, or an empty or dot segment, is refused: no
encoding leads out of the root.
"""
# PURE

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

EXTENSION = ".arrow"
"""The extension of every served file; names without it are free for the server's own resources."""

_NUMBER = "0|[1-9][0-9]{0,9}"
_PARTITIONS = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?")


class Listing(NamedTuple):
    """``/``: the list of all files; a POST to it fetches several places in one answer."""


class Health(NamedTuple):
    """``/healthz``: whether the event loop runs and the root can be read."""


class Readiness(NamedTuple):
    """``/readyz``: like ``/healthz``, and whether there is room for another connection."""


class Metrics(NamedTuple):
    """``/metrics``: figures for Prometheus."""


class FileResource(NamedTuple):
    """``/<file>``: the layout of a file.

    Attributes:
        name: path of the file below the root; bytes that are not UTF-8 are surrogates, as in Python's file names.
    """

    name: str


class PartitionsResource(NamedTuple):
    """``/<file>/partitions/<p>`` or ``…/<p>-<q>``: partitions ``start`` … ``stop - 1`` of a file."""

    name: str
    start: int
    stop: int


Resource = Listing | Health | Readiness | Metrics | FileResource | PartitionsResource

ROUTES: dict[type[Resource], str] = {
    Listing: "listing",
    Health: "health",
    Readiness: "readiness",
    Metrics: "metrics",
    FileResource: "layout",
    PartitionsResource: "partitions",
}
"""The word for each kind of resource in figures and logs."""

_FIXED: dict[tuple[str, ...], Resource] = {
    ("",): Listing(),
    ("healthz",): Health(),
    ("readyz",): Readiness(),
    ("metrics",): Metrics(),
}


class NoResourceError(ValueError):
    """The URL can name no resource; the message says why."""


@lru_cache(4096)
def parse(target: str) -> Resource:
    """Return the resource that the target of a request names; ignores the query.

    Raises:
        NoResourceError: the target can name no resource.
    """
    if not target.startswith("/"):  # the absolute form, as clients send it to proxies
        try:
            target = urlsplit(target).path
        except ValueError as error:
            raise NoResourceError(f"no URL: {error}") from error
    path = target.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        raise NoResourceError("the path does not start at the root")
    segments = tuple(_decoded(segment) for segment in path.removeprefix("/").split("/"))
    if segments in _FIXED:
        return _FIXED[segments]
    if any(segment in {"", ".", ".."} for segment in segments):
        raise NoResourceError("the path has an empty or a dot segment")
    if len(segments) > 2 and segments[-2] == "partitions":
        start, stop = parse_partitions(segments[-1])
        return PartitionsResource(_file_name(segments[:-2]), start, stop)
    return FileResource(_file_name(segments))


def parse_partitions(text: str) -> tuple[int, int]:
    """Return the half-open range ``(start, stop)`` of partitions written as ``3`` or ``3-6``, which includes 6.

    Raises:
        NoResourceError: the text has neither form.
    """
    match = _PARTITIONS.fullmatch(text)
    if match is None:
        raise NoResourceError("partitions are written as 3, or as 3-6")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise NoResourceError(f"partitions {first}-{last} end before they start")
    return first, last + 1


def _decoded(segment: str) -> str:
    decoded = unquote_to_bytes(segment.encode("utf-8", "surrogateescape"))
    if b"/" in decoded or b"\0" in decoded:
        raise NoResourceError("a segment of the path holds a separator")
    return decoded.decode("utf-8", "surrogateescape")


def _file_name(segments: tuple[str, ...]) -> str:
    if not segments[-1].endswith(EXTENSION):
        raise NoResourceError(f"only files whose names end with {EXTENSION} are served")
    return "/".join(segments)
