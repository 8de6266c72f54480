"""Whether the root can be looked at: what a server's health is, apart from its traffic."""

from __future__ import annotations

import asyncio
import os

from shuffle.machine.threads import Threads

_SECONDS = 5


class RootHealth:
    """Looks at the root; at most once at a time, whoever asks, and not in the threads that open files.

    Args:
        root: the directory.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._threads = Threads(1, "shuffle-health")
        self._looking: asyncio.Future[str | None] | None = None

    async def problem(self) -> str | None:
        """What is wrong with the root, or None. A disk that does not answer is wrong, too."""
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
