"""The request that reducers make by the million, recognised to its last byte: a plain GET of partitions. Pure.

Whatever is not recognised is aiohttp's to read. Of what is recognised both must see the same request.
"""
# PURE

from __future__ import annotations

import re
from typing import NamedTuple

from shuffle.serve.resource import NoResourceError, PartitionsResource, parse

_MAXIMUM_BYTES = 4096
_OTHERS = (
    rb"(?:(?i:User-Agent|Accept|Accept-Encoding):[ -~]*\r\n"
    rb"|(?i:Connection): *(?i:keep-alive) *\r\n)*"
)
_AUTHORIZATION = rb"(?:(?i:Authorization): *([!-~][ -~]*)\r\n" + _OTHERS + rb")?"
_PLAIN_GET = re.compile(
    rb"GET (/[!-~]+) HTTP/1\.1\r\n"
    + (_OTHERS + _AUTHORIZATION)
    + rb"(?i:Host): *([!-~]+) *\r\n"
    + (_OTHERS + _AUTHORIZATION)
    + rb"\r\n"
)
"""One host, and fields of which none changes what is answered but who asks."""
_ONCE = (b"user-agent:", b"accept:", b"accept-encoding:", b"connection:")


class PlainGet(NamedTuple):
    """A request that is answered here.

    Attributes:
        target: of the request.
        resource: what it names.
        host, authorization: values of these fields; the latter is empty where there is none.
    """

    target: str
    resource: PartitionsResource
    host: str
    authorization: bytes


def recognised(data: bytes) -> PlainGet | None:
    """The request that bytes are, to the last of them, or None."""
    match = _PLAIN_GET.fullmatch(data) if len(data) <= _MAXIMUM_BYTES else None
    if match is None or (match[2] and match[4]):
        return None
    names = data.lower()
    if any(names.count(name) > 1 for name in _ONCE):  # in a value, too: what is said twice is aiohttp's to judge
        return None
    target = match[1].decode("ascii")
    try:
        resource = parse(target)
    except NoResourceError:
        return None
    if not isinstance(resource, PartitionsResource):
        return None
    authorization = (match[2] or match[4] or b"").rstrip()
    return PlainGet(target, resource, match[3].decode("ascii"), authorization)
