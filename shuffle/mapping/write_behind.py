"""Writing in a thread of its own, so that what comes next is made meanwhile."""

from __future__ import annotations

import queue
from typing import Self

from shuffle.machine.threads import Threads
from spill_format.encoder import Bytes, WritableFile, write_pieces

_MOST_WAITING = 4  # calls: a call each would have the two threads wait for each other in turn


class WriteBehind:
    """Writes what it is given to a file, in order, a few calls behind the caller.

    Args:
        file: stays the caller's. It is complete once the context has ended without an error.

    An error is raised by a later call than the one that it befell, or by the end of the context.
    """

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._waiting: queue.Queue[list[Bytes] | None] = queue.Queue(_MOST_WAITING)
        self._error: BaseException | None = None
        self._thread = Threads(1, "shuffle-write")
        self._done = self._thread.start(self._write_all)

    def write(self, pieces: list[Bytes]) -> None:
        """Write pieces, which must stay as they are, or begin to; waits where several calls are behind.

        Raises:
            OSError: these could not be written, or earlier ones.
        """
        if self._error is not None:
            raise self._error
        if self._done is None:  # no thread is to be had
            write_pieces(self._file, pieces)
        else:
            self._waiting.put(pieces)

    def _write_all(self) -> None:
        while (pieces := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    write_pieces(self._file, pieces)
                except BaseException as error:  # noqa: BLE001 -- the caller's thread raises it
                    self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with self._thread:  # whatever happens, nothing is written once this returns
            if kind is not None and self._error is None:
                self._error = error  # what waits is not worth writing
            self._waiting.put(None)
        if kind is None and self._error is not None:
            raise self._error
