"""What a request's head says: the resource, whether the token allows it, and the request's identity."""

from __future__ import annotations

import re

from aiohttp import web

from shuffle.serve.access_log import Served
from shuffle.serve.refusal import Refusal
from shuffle.serve.resource import Metrics, NoResourceError, Resource, parse
from shuffle.serve.tokens import Rights

_REQUEST_HEADER = "X-Request-ID"
_REQUEST_IDENTITY = re.compile(r"[!-~]{1,128}")


def identity_of(request: web.BaseRequest) -> str | None:
    """Return the identity that a request gives itself, or None."""
    given = request.headers.get(_REQUEST_HEADER, "")
    return given if _REQUEST_IDENTITY.fullmatch(given) else None


def resource_of(request: web.BaseRequest) -> Resource:
    """What a request asks for. That it names its host once, aiohttp's parser has seen."""
    if request.headers.get("Expect", "100-continue").lower() != "100-continue":
        raise Refusal(417, "nothing but 100-continue can be expected", Connection="close")
    try:
        return parse(request.raw_path)
    except NoResourceError as error:
        raise Refusal(404, str(error)) from error


def check_right(rights: Rights, resource: Resource) -> None:
    """Raise Refusal unless a token allows a resource. The listing shows each token the files that it allows."""
    name = getattr(resource, "name", None)
    if name is not None and not rights.allow(name):
        raise Refusal(403, "this token does not hold for this path")
    if isinstance(resource, Metrics) and rights.prefixes is not None:
        raise Refusal(403, "figures are for tokens that hold for all paths")


def identity_field(request: web.BaseRequest, served: Served) -> dict[str, str]:
    """Return the field that confirms a client's own identity of its request."""
    return {_REQUEST_HEADER: served.identity} if _REQUEST_HEADER in request.headers else {}


def is_browser(request: web.BaseRequest) -> bool:
    """Return whether the client prefers a page to JSON. The page needs no token: it has no data."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("Accept", "")
