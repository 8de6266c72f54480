"""How many do something at a time: the others wait for their turn, and not for ever."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Turns:
    """Entered with ``async with``, by at most ``limit`` at a time. Of one event loop.

    Args:
        limit: how many.
        patience_seconds: how long others wait.
    """

    def __init__(self, limit: int, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._free = asyncio.Semaphore(limit)
        self.taken_count = 0
        """How many are at it now."""

    async def __aenter__(self) -> None:
        """Wait.

        Raises:
            TimeoutError: for too long.
        """
        if self._free.locked():
            async with asyncio.timeout(self._patience_seconds):
                await self._free.acquire()
        else:  # at once, and no timer is worth its cost
            await self._free.acquire()
        self.taken_count += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.taken_count -= 1
        self._free.release()
