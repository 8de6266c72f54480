"""Several processes that serve one root at one address: for more cores than one event loop can use.

The parent opens sockets, starts the workers, starts those anew that die, and passes signals on; it answers nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

from shuffle.http_options import ServeOptions
from shuffle.serve.systemd import notify

_LOGGER = logging.getLogger("shuffle.serve")
_RESTART_SECONDS = 1.0
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALS = (*_PASSED_ON, signal.SIGUSR1, signal.SIGUSR2)


def serve_with_workers(
    root: str | os.PathLike[str],
    sockets: Sequence[Sequence[socket.socket]],
    options: ServeOptions,
    announce: Callable[[], None],
) -> int:
    """Serve as ``server.serve`` does, by one worker for each list of sockets. Limits hold for each worker.

    Returns:
        The number of the signal that ended it.

    Raises:
        OSError, ValueError: a worker cannot start; it has said why.
    """
    with tempfile.TemporaryDirectory(prefix="shuffle-serve-") as figures:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = figures  # before prometheus_client is imported, which looks at it
        from shuffle.serve.server import new_incarnation

        parent = _Parent(root, sockets, options, new_incarnation())
        return parent.run(announce)


class _Parent:
    """Starts workers, and waits for them."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        sockets: Sequence[Sequence[socket.socket]],
        options: ServeOptions,
        incarnation: str,
    ) -> None:
        self._root = root
        self._sockets = sockets
        self._options = options
        self._incarnation = incarnation
        self._workers: dict[int, int] = {}
        self._stopped_by = 0

    def run(self, announce: Callable[[], None]) -> int:
        """Run until all workers have ended."""
        for number in _PASSED_ON:
            signal.signal(number, self._pass_on)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        if not all(self._start(index) for index in range(len(self._sockets))):
            self._pass_on(signal.SIGTERM, None)
            raise OSError("no worker could be started")
        announce()
        notify("READY=1")
        while self._workers:
            pid, status = os.wait()
            index = self._workers.pop(pid, None)
            if index is not None and not self._stopped_by:
                _LOGGER.warning("worker %d ended with status %d; it is started again", index, status)
                time.sleep(_RESTART_SECONDS)
                self._start(index)
        return self._stopped_by

    def _pass_on(self, number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            self._stopped_by = self._stopped_by or number
            notify("STOPPING=1")
        for pid in list(self._workers):
            os.kill(pid, number)

    def _start(self, index: int) -> bool:
        """Start a worker. Whether it answers requests; if not, it has ended."""
        ready, tell = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # no signal of ours is taken by a child as the parent's
        pid = os.fork()
        if not pid:
            os.close(ready)
            self._be_worker(index, tell)
        self._workers[pid] = index
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(tell)
        if self._stopped_by:
            os.kill(pid, self._stopped_by)
        with open(ready, "rb") as waited_for:
            return bool(waited_for.read(1))

    def _be_worker(self, index: int, tell: int) -> None:
        """Serve, in the child; never returns."""
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the event loop takes it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.environ.pop("NOTIFY_SOCKET", None)  # the parent tells the service manager
            from shuffle.serve.server import serve

            serve(self._root, self._sockets[index], self._options, lambda: _say_ready(tell), self._incarnation)
            code = 0
        except (OSError, ValueError) as error:
            print(f"shuffle: error: {error}", file=sys.stderr, flush=True)  # noqa: T201 (the parent's words, in its stead)
        except BaseException:  # noqa: BLE001 (nothing of a child may go on as the parent)
            traceback.print_exc()
        finally:
            os._exit(code)


def _say_ready(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)
