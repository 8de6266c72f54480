"""Threads that work for one: as many as were asked for, or as the system gives (``ulimit -u``, a container's limit).

Every pool of threads in the project is one of these. What is computed is the business of others.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

from spill_format.closing import Closing

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def check_threads(count: int, purpose: str) -> None:
    """Check that the system gives ``count`` threads at once.

    Where it gives fewer than Arrow wants, Arrow waits for ever, crashes, or says that a file cannot be read.

    Raises:
        OSError: it gives fewer.
    """
    over, threads = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError as error:
        problem = f"{purpose} takes {count} threads, of which the system gives {len(threads)}"
        raise OSError(errno.EAGAIN, f"{problem}; OMP_NUM_THREADS and ARROW_IO_THREADS lessen them") from error
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Threads(Closing):
    """Up to ``count`` threads, begun as work comes. Where no further one is to be had, work waits for those there are.

    Leaving the ``with`` block waits for what has begun and drops the rest, as ``close`` does.
    """

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, name)
        self._some_began = False

    def start(
        self, compute: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Future[Result] | None:
        """Let a thread compute something; None where not a single thread is to be had."""
        work = _Work(lambda: compute(*arguments, **named))
        try:
            self._executor.submit(work.run)
        except RuntimeError as error:
            if "new thread" not in str(error):
                raise
            # The work is queued all the same: threads that began before will come to it.
            if not self._some_began:
                work.future.cancel()
                return None
        self._some_began = True
        return work.future

    def submit(
        self, compute: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Future[Result]:
        """As ``start``; where not a single thread is to be had the caller's computes, before this returns."""
        future = self.start(compute, *arguments, **named)
        if future is None:
            work = _Work(lambda: compute(*arguments, **named))
            work.run()
            future = work.future
        return future

    def close(self, *, waits: bool = True) -> None:
        """Drop what has not begun and wait for the rest, if ``waits``."""
        self._executor.shutdown(wait=waits, cancel_futures=True)


class _Work(Generic[Result]):
    """Something to compute, and the future that will have the result."""

    def __init__(self, compute: Callable[[], Result]) -> None:
        self._compute = compute
        self.future: Future[Result] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._compute())
        except BaseException as error:
            self.future.set_exception(error)
            if threading.current_thread() is threading.main_thread() and not isinstance(error, Exception):
                raise  # Ctrl-C
