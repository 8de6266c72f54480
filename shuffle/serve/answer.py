"""Heads of answers that are written to a socket directly, and what tells aiohttp that they were."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.http import SERVER_SOFTWARE


class SentResponse(web.StreamResponse):
    """An answer that went out already, its head as well: nothing is left for aiohttp but to keep the connection."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._keeps_alive = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        return self._keeps_alive

    def force_close(self) -> None:
        """Let no other request follow."""
        self._keeps_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing."""


def encode_head(status: int, fields: Mapping[str, str]) -> bytes:
    """Status line and header fields of an answer, with those that aiohttp adds, up to the empty line that ends them.

    Args:
        status: of the answer.
        fields: its own, in ASCII and of one line each.
    """
    own = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    return f"{_status_line(status)}{own}{_last_fields(int(time.time()))}".encode("ascii")


def connection_field(request: web.BaseRequest) -> dict[str, str]:
    """What an answer says of whether its connection stays."""
    if not request.keep_alive:
        return {"Connection": "close"}
    return {"Connection": "keep-alive"} if request.version < HttpVersion11 else {}


@lru_cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


@lru_cache(1)
def _last_fields(seconds: int) -> str:
    return f"Date: {formatdate(seconds, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
