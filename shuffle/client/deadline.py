"""The time by which a whole call must end, including all its requests and waits."""

from __future__ import annotations

import time


class Deadline:
    """A time by which a call must end.

    Args:
        seconds: from now; None for no deadline.
    """

    def __init__(self, seconds: float | None) -> None:
        self.is_endless: bool = seconds is None
        """Whether there is no deadline."""
        self._at = float("inf") if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left: 0 or less after the deadline, infinity without one."""
        return self._at - time.monotonic()


NEVER = Deadline(None)
