"""Limits on answers: how many are sent at a time, and how long one answer may keep the event loop."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from shuffle.serve.refusal import Refusal

STINT_BYTES = 4 << 20
"""Bytes that one answer sends before other answers get the event loop."""
_STINT_SECONDS = 0.01


class Turns:
    """Lets at most ``limit`` answers be sent at a time: each inside ``async with``, in one event loop.

    Args:
        limit: answers at a time.
        patience_seconds: seconds that a further answer waits for its turn.
    """

    def __init__(self, limit: int, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._free = asyncio.Semaphore(limit)
        self.taken_count: int = 0
        """Answers that are being sent now."""

    async def __aenter__(self) -> None:
        """Wait for a turn.

        Raises:
            Refusal: the wait took longer than ``patience_seconds``.
        """
        if self._free.locked():
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await self._free.acquire()
            except TimeoutError as error:
                raise Refusal(503, "too many answers are being sent; try again later", Retry_After="1") from error
        else:  # there is nothing to wait for, so no timer is needed
            await self._free.acquire()
        self.taken_count += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.taken_count -= 1
        self._free.release()


class Stint:
    """The time that an answer may keep the event loop. After a step: ``if stint.is_over(count): await stint.rest()``.

    All steps of an answer count together: a thousand short steps delay other answers as much as a long one.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start counting: other answers have just had the event loop."""
        self._bytes_left = STINT_BYTES
        self._ends_at = time.monotonic() + _STINT_SECONDS

    def is_over(self, byte_count: int = 0) -> bool:
        """Return whether other answers should have the event loop, after a step that sent ``byte_count`` bytes."""
        self._bytes_left -= byte_count
        return self._bytes_left <= 0 or time.monotonic() >= self._ends_at

    async def rest(self) -> None:
        """Give other answers the event loop, then start counting again."""
        await asyncio.sleep(0)
        self.begin()
