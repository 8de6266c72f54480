"""The host names that a server answers to.

A web page from anywhere can let its own host name resolve to a server on this machine or network (DNS rebinding); the
browser then lets the page read the answers. Such a request names the page's host. A page has no address as its name, so
requests that name an address are answered.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


class AllowedHosts:
    """The names that a ``Host`` field may have.

    Args:
        names: beside this machine's own and ``localhost``; ``*`` stands for any.
    """

    def __init__(self, names: Iterable[str]) -> None:
        own = socket.gethostname()
        self._names = {name.lower().rstrip(".") for name in ("localhost", own, own.partition(".")[0], *names)}
        self.allow: Callable[[str], bool] = lru_cache(1024)(self._allow)
        """Whether the value of a ``Host`` field is one of them, or an address."""

    def _allow(self, field: str) -> bool:
        match = _HOST.fullmatch(field.strip())
        if match is None:
            return False
        name = (match[1] or match[2]).lower().rstrip(".")
        return bool(match[1]) or "*" in self._names or name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
