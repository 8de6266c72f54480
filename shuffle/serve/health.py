"""The health of a server: whether the directory that it serves can be read."""

from __future__ import annotations

import asyncio
import os

from shuffle.machine.threads import Threads

_SECONDS = 5


class RootHealth:
    """Reads the root directory to see whether it answers: once at a time, in a thread that does nothing else.

    Args:
        root: directory that is served.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._threads = Threads(1, "shuffle-health")
        self._looking: asyncio.Future[str | None] | None = None

    async def problem(self) -> str | None:
        """Return what is wrong with the root, or None. No answer within 5 s is a problem, too."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.wrap_future(self._threads.submit(self._look))
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), _SECONDS)
        except TimeoutError:
            return f"the root does not answer for {_SECONDS} s"

    def close(self) -> None:
        """Let the thread end."""
        self._threads.close(waits=False)

    def _look(self) -> str | None:
        try:
            with os.scandir(self._root) as entries:
                next(entries, None)
        except OSError as error:
            return f"the root cannot be read: {error.strerror}"
        return None
