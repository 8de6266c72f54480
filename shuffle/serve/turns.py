"""Who goes on when: how many do something at a time, and how long one of them may keep the event loop."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from shuffle.serve.refusal import Refusal

STINT_BYTES = 4 << 20
"""What one answer sends until others get their turn."""
_STINT_SECONDS = 0.01


class Turns:
    """Entered with ``async with``, by at most ``limit`` at a time. Of one event loop.

    Args:
        limit: how many.
        patience_seconds: how long others wait.
    """

    def __init__(self, limit: int, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._free = asyncio.Semaphore(limit)
        self.taken_count: int = 0
        """How many are at it now."""

    async def __aenter__(self) -> None:
        """Wait.

        Raises:
            Refusal: for too long.
        """
        if self._free.locked():
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await self._free.acquire()
            except TimeoutError as error:
                raise Refusal(503, "too many answers are being sent; try again later", Retry_After="1") from error
        else:  # at once, and no timer is worth its cost
            await self._free.acquire()
        self.taken_count += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.taken_count -= 1
        self._free.release()


class Stint:
    """What somebody does at a stretch: ``if stint.is_over(byte_count): await stint.rest()`` behind each step of it.

    Steps are counted over all of an answer: a thousand short ones hold others up as one long one does.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Others have just had their turn."""
        self._bytes_left = STINT_BYTES
        self._ends_at = time.monotonic() + _STINT_SECONDS

    def is_over(self, byte_count: int = 0) -> bool:
        """Whether it was long enough, with a step that sent so many bytes."""
        self._bytes_left -= byte_count
        return self._bytes_left <= 0 or time.monotonic() >= self._ends_at

    async def rest(self) -> None:
        """Give others their turn, and begin anew."""
        await asyncio.sleep(0)
        self.begin()
