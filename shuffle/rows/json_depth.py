"""How deep JSON lines are nested, before Arrow's parser looks at them.

That parser calls itself for each level: 20,000 levels overflow the stack of the process.
"""

from __future__ import annotations

import io
import re
from typing import IO

import numpy as np
import pyarrow as pa

MAXIMUM_DEPTH = 1000
"""Levels of brackets in a line; more than any type that can be written, and fewer than the stack holds."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"{[}]")
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"{[")], _STEPS[list(b"}]")] = 1, -1


class ShallowLines(io.RawIOBase):
    """Passes a stream of JSON lines on; raises ArrowInvalid where a row is nested too deep."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""  # of a line whose end was not read yet

    def readable(self) -> bool:
        """Tell that bytes can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read bytes. Lines are checked as soon as they are whole, which is when Arrow parses them."""
        data = self._stream.read(size)
        lines = self._rest + data
        end = lines.rfind(b"\n") + 1 if data else len(lines)
        if _is_deep(lines[:end]):
            raise pa.ArrowInvalid(f"a row is nested more than {MAXIMUM_DEPTH} levels deep")
        self._rest = lines[end:]
        return data

    def close(self) -> None:
        """Close the stream, too."""
        self._stream.close()
        super().close()


def _is_deep(lines: bytes) -> bool:
    # Where flat rows follow each other, one bracket is closed before the next one opens.
    opened = lines.count(b"{") + lines.count(b"[") - lines.count(b"}\n{") - lines.count(b"}\r\n{")
    # Brackets in texts are none, but to find texts takes longest.
    return opened > MAXIMUM_DEPTH and _is_deeper(lines) and _is_deeper(_STRING.sub(b"", lines))


def _is_deeper(lines: bytes) -> bool:
    brackets = np.frombuffer(lines.translate(None, _NO_BRACKETS), np.uint8)
    depths = np.cumsum(_STEPS[brackets], dtype=np.int32)
    return bool(depths.max(initial=0) > MAXIMUM_DEPTH)
