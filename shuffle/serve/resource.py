"""What a URL names. Pure: whether it exists is for the catalog to see.

A path is decoded once, segment by segment, and refused unless it is the one way to write what it names: so no encoding
leads out of the root, and nothing has two names.
"""
# PURE

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

EXTENSION = ".arrow"
"""Of the files that are served; all other names are free for the server's own."""

_NUMBER = "0|[1-9][0-9]{0,9}"
_PARTITIONS = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?")


class Listing(NamedTuple):
    """``/``: all files; and where several places are asked for at once."""


class Health(NamedTuple):
    """``/healthz``."""


class Readiness(NamedTuple):
    """``/readyz``."""


class Metrics(NamedTuple):
    """``/metrics``."""


class FileResource(NamedTuple):
    """``/<file>``: a file's layout.

    Attributes:
        name: its path below the root; bytes that are not UTF-8 as surrogates, as Python names files.
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
"""A word for each kind of resource, for figures and logs."""

_FIXED: dict[tuple[str, ...], Resource] = {
    ("",): Listing(),
    ("healthz",): Health(),
    ("readyz",): Readiness(),
    ("metrics",): Metrics(),
}


class NoResourceError(ValueError):
    """Nothing can have this URL; the message says why."""


@lru_cache(4096)
def parse(target: str) -> Resource:
    """What the target of a request names; its query is not looked at.

    Raises:
        NoResourceError: nothing.
    """
    if not target.startswith("/"):  # the absolute form, that proxies are sent
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
    """The first partition of ``3`` or ``3-6``, and the one behind the last.

    Raises:
        NoResourceError: it is neither.
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
