"""The request that reducers make by the million, recognised to its last byte: a plain GET of partitions. Pure.

Whatever is not recognised is aiohttp's to read. Of what is recognised both must see the same request.
"""
# PURE

from __future__ import annotations

import re
from typing import NamedTuple

from shuffle.serve.resource import NoResourceError, PartitionsResource, parse

_MAXIMUM_BYTES = 4096
_PLAIN_GET = re.compile(
    rb"GET (/[!-~]+) HTTP/1\.1\r\n"
    rb"(?:(?i:Host|User-Agent|Accept|Accept-Encoding|Authorization):[ -~]*\r\n|(?i:Connection: *keep-alive *)\r\n)*\r\n"
)
"""Fields of which none changes what is answered but who asks, and whom."""
_FIELD = re.compile(rb"\r\n([!-9;-~]+): *([ -~]*?) *(?=\r\n)")


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
    if match is None:
        return None
    fields = _FIELD.findall(data)
    values = {name.lower(): value for name, value in fields}
    if len(values) != len(fields) or not values.get(b"host"):  # nothing is said twice
        return None
    target = match[1].decode("ascii")
    try:
        resource = parse(target)
    except NoResourceError:
        return None
    if not isinstance(resource, PartitionsResource):
        return None
    return PlainGet(target, resource, values[b"host"].decode("ascii"), values.get(b"authorization", b""))
