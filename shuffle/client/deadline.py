"""When a whole call must have ended, however many requests and waits it takes."""

from __future__ import annotations

import time


class Deadline:
    """A moment in the future.

    Args:
        seconds: from now until then; None for never.
    """

    def __init__(self, seconds: float | None) -> None:
        self.is_endless: bool = seconds is None
        """Whether it never passes."""
        self._at = float("inf") if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left: none or fewer once it has passed, infinitely many where there is no end."""
        return self._at - time.monotonic()


NEVER = Deadline(None)
