"""What is closed by leaving its ``with`` block."""
# PURE

from __future__ import annotations

from typing import Self


class Closing:
    """The base of classes that have ``close``: leaving a ``with`` block calls it."""

    def close(self) -> None:
        """Let go of what the object holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()
