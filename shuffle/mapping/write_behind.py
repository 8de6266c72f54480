"""Writing in a thread of its own, so that what comes next is made meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Self

from shuffle.machine.threads import Threads
from spill_format.encoder import Bytes, WritableFile, write_pieces


class WriteBehind:
    """Writes what it is given to a file, in order, one call behind the caller.

    Args:
        file: stays the caller's. It is complete once the context has ended without an error.

    An error is raised by the call after the one that it befell, or by the end of the context.
    """

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._thread = Threads(1, "shuffle-write")
        self._last: Future[None] | None = None

    def write(self, pieces: list[Bytes]) -> None:
        """Begin to write pieces, which must stay as they are; waits for those of the last call.

        Raises:
            OSError: these could not be written.
        """
        self._wait()
        self._last = self._thread.submit(write_pieces, self._file, pieces)

    def _wait(self) -> None:
        if self._last is not None:
            last, self._last = self._last, None
            last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with self._thread:  # whatever happens, nothing is written once this returns
            if kind is None:
                self._wait()
