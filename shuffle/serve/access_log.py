"""The access log: a line for each request, in the common format or as JSON."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Literal

AccessLogFormat = Literal["common", "json"]


@dataclass(slots=True)
class Served:
    """One request and what came of it.

    Attributes:
        identity: the request's own, or a new one.
        client: address of the client.
        method, target: of the request, as they arrived.
        route: kind of resource.
        began: seconds by the monotonic clock.
        status: of the answer.
        byte_count: bytes of its body that were sent.
        is_broken_off: the answer ended before its last byte.
    """

    identity: str
    client: str
    method: str
    target: str
    began: float
    route: str = "none"
    status: int = 500
    byte_count: int = 0
    is_broken_off: bool = False


class AccessLog:
    """Writes lines to a file, each by one call, so that several processes may share it.

    Args:
        path: is appended to; ``-`` is stderr.
        form: of the lines.
    """

    def __init__(self, path: str, form: AccessLogFormat) -> None:
        self._path = path
        self._line = _json_line if form == "json" else _common_line
        self._descriptor = _opened(path)

    def write(self, served: Served, seconds: float) -> None:
        """Write the line of a request; if the disk is full, the line is lost."""
        line = self._line(served, seconds).encode("utf-8", "backslashreplace") + b"\n"
        try:
            os.write(self._descriptor, line)
        except OSError:
            return

    def reopen(self) -> None:
        """Open the log again by its name, because the old file was moved away."""
        fresh = _opened(self._path)
        self.close()
        self._descriptor = fresh

    def close(self) -> None:
        """Close the file."""
        if self._descriptor != 2:
            os.close(self._descriptor)


def _opened(path: str) -> int:
    if path == "-":
        return 2
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def _common_line(served: Served, seconds: float) -> str:
    when = time.strftime("%d/%b/%Y:%H:%M:%S %z")
    request = json.dumps(f"{served.method} {served.target} HTTP/1.1")
    broken = " broken-off" if served.is_broken_off else ""
    return (
        f"{served.client or '-'} - - [{when}] {request} {served.status} {served.byte_count} "
        f"{served.identity} {seconds:.6f}{broken}"
    )


def _json_line(served: Served, seconds: float) -> str:
    return json.dumps(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "request": served.identity,
            "client": served.client,
            "method": served.method,
            "target": served.target,
            "route": served.route,
            "status": served.status,
            "bytes": served.byte_count,
            "seconds": round(seconds, 6),
            "broken_off": served.is_broken_off,
        }
    )
