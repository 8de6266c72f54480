"""How often others get their turn while something goes on in an event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Others:
    """Somebody else who would go on whenever there is a turn, inside ``async with``."""

    def __init__(self) -> None:
        self.turn_count = 0
        """Turns that there were."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._go_on())
        await asyncio.sleep(0)
        self.turn_count = 0
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _go_on(self) -> None:
        while True:
            self.turn_count += 1
            await asyncio.sleep(0)
