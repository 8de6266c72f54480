"""Several processes that serve one directory at one address, so that a server can use more than one core.

The parent starts the workers, replaces a worker that dies or hangs, passes signals on, and talks to the service
manager. The parent answers no request.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from shuffle.http_options import ServeOptions
from shuffle.serve.systemd import notify, reloading, watchdog_seconds
from spill_format.errors import in_words

_LOGGER = logging.getLogger("shuffle.serve")
_RESTART_SECONDS = 1.0
_SIGN_OF_LIFE_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def serve_with_workers(
    root: str | os.PathLike[str],
    sockets: Sequence[Sequence[socket.socket]],
    options: ServeOptions,
    announce: Callable[[], None],
) -> int:
    """Serve as ``server.serve`` does, with one worker process for each list of sockets. Limits hold for each worker.

    Returns:
        The number of the signal that stopped the server.

    Raises:
        OSError: a worker cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="shuffle-serve-") as figures:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = figures  # before prometheus_client is imported, which looks at it
        from shuffle.serve.server import new_incarnation

        return _Parent(root, sockets, options, new_incarnation()).run(announce)


@dataclass(slots=True)
class _Worker:
    """A worker process.

    Attributes:
        index: number of the worker, and of its list of sockets.
        pid: process identifier.
        words: descriptor of the pipe on which the worker writes lines such as ``READY=1``.
        heard_at: seconds of the monotonic clock when the last line arrived.
        is_ready: whether the worker answers requests.
        problem: why the worker could not start, or ended.
    """

    index: int
    pid: int
    words: int
    heard_at: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    problem: str = ""


class _Parent:
    """Starts workers, and reads their lines."""

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
        self._workers: dict[int, _Worker] = {}
        self._restarts: dict[int, float] = {}
        self._reloading: set[int] = set()
        self._stopped_by = 0
        self._watchdog_seconds = watchdog_seconds()

    def run(self, announce: Callable[[], None]) -> int:
        """Run until all workers have ended."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        for index in range(len(self._sockets)):
            self._start(index)
        while not (self._stopped_by or all(worker.is_ready for worker in self._workers.values())):
            self._listen(self._cannot_start)
        if not self._stopped_by:
            announce()
            notify("READY=1")
        while self._workers or (self._restarts and not self._stopped_by):
            self._listen(self._start_later)
            self._look_after()
        return self._stopped_by

    def _stop(self, number: int, _frame: object) -> None:
        self._stopped_by = self._stopped_by or number
        notify("STOPPING=1")
        self._send(number)
        for sockets in self._sockets:
            for bound in sockets:
                bound.close()

    def _reload(self, number: int, _frame: object) -> None:
        if not self._stopped_by:
            notify(*reloading())
            self._reloading = set(self._workers)
        self._send(number)

    def _send(self, number: int) -> None:
        for pid in list(self._workers):
            os.kill(pid, number)

    def _listen(self, died: Callable[[_Worker], None]) -> None:
        """Read the lines that workers write, for a second or less; call ``died`` for each worker that ended."""
        by_pipe = {worker.words: worker for worker in self._workers.values()}
        said, _, _ = select.select(list(by_pipe), [], [], min(1.0, self._watchdog_seconds or 1.0))
        for worker in (by_pipe[pipe] for pipe in said):
            words = os.read(worker.words, 1 << 16).decode("utf-8", "surrogateescape")
            worker.heard_at = time.monotonic()
            worker.problem += "".join(line[7:] for line in words.splitlines() if line.startswith("STATUS="))
            if "READY=1\n" in words:
                worker.is_ready = True
                self._has_reloaded(worker)
            if not words:
                self._bury(worker)
                if not self._stopped_by:
                    died(worker)

    def _bury(self, worker: _Worker) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        del self._workers[worker.pid]  # before waitpid: its number may be another process's after that
        os.close(worker.words)
        _, status = os.waitpid(worker.pid, 0)
        worker.problem = worker.problem or f"it ended with status {os.waitstatus_to_exitcode(status)}"
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        self._has_reloaded(worker)

    def _has_reloaded(self, worker: _Worker) -> None:
        if worker.pid in self._reloading:
            self._reloading.discard(worker.pid)
            if not self._reloading:
                notify("READY=1")

    def _cannot_start(self, worker: _Worker) -> None:
        self._stop(signal.SIGTERM, None)
        while self._workers:
            self._listen(self._start_later)
        raise OSError(f"no worker could be started: {worker.problem}")

    def _start_later(self, worker: _Worker) -> None:
        _LOGGER.warning("worker %d is started again: %s", worker.index, worker.problem)
        self._restarts[worker.index] = time.monotonic() + _RESTART_SECONDS

    def _look_after(self) -> None:
        """Replace dead workers, kill hanging workers, and tell the service manager that the parent is alive."""
        now = time.monotonic()
        for index in [index for index, at in self._restarts.items() if at <= now and not self._stopped_by]:
            del self._restarts[index]
            self._start(index)
        if self._watchdog_seconds is not None:
            for worker in self._workers.values():
                if worker.is_ready and now - worker.heard_at > 2 * self._watchdog_seconds:
                    os.kill(worker.pid, signal.SIGKILL)
            notify("WATCHDOG=1")

    def _start(self, index: int) -> None:
        words, tell = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # or the child would handle a signal as the parent does
        pid = os.fork()
        if not pid:
            os.close(words)
            self._be_worker(index, tell)
        self._workers[pid] = _Worker(index, pid, words)
        if self._stopped_by:
            os.kill(pid, self._stopped_by)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(tell)

    def _be_worker(self, index: int, pipe: int) -> None:
        """Serve in the child process; never returns."""
        code = 1

        def tell(*lines: str) -> None:
            try:
                os.write(pipe, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
            except BrokenPipeError:  # the parent is gone: no process would stop this worker
                os.kill(os.getpid(), signal.SIGTERM)

        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the event loop takes it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            own = self._sockets[index]
            for bound in (bound for sockets in self._sockets for bound in sockets if bound not in own):
                bound.close()  # or the kernel would queue connections here for a worker that died
            for other in self._workers.values():
                os.close(other.words)
            os.environ.pop("WATCHDOG_PID", None)  # names the parent, not this process
            os.environ["WATCHDOG_USEC"] = str(int(2e6 * (self._watchdog_seconds or _SIGN_OF_LIFE_SECONDS)))
            from shuffle.serve.server import serve

            serve(self._root, own, self._options, lambda: None, self._incarnation, tell)
            code = 0
        except (OSError, ValueError) as error:
            with suppress(OSError):
                tell(f"STATUS={' '.join(in_words(error).split())}")
        except BaseException:  # noqa: BLE001 (nothing of a child may go on as the parent)
            traceback.print_exc()
        finally:
            os._exit(code)
