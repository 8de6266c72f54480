"""Servers to be started: one that a command runs until a signal, and one in a thread of a program."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Self, Unpack

from shuffle.option_kinds import options_of
from shuffle.options import ServeKeywords, ServeOptions
from shuffle.serve.listening import listening_sockets, url_of
from shuffle.serve.service import Service, loop_factory


class PartitionServer:
    """Serves the partitioned files below a directory, from a thread of its own, until it is closed.

    Can be started from any thread, and several times in one process. It raises this process's limit of open files to
    what its own limits need, if it may.

    Args:
        root: the directory.
        host, port: where to listen; port 0 is any free one.
        options, keywords: limits, secrets, and how files are sent.

    Attributes:
        url: what clients ask, with a slash at its end.
        incarnation: identity of this server, sent with each answer; a server that is started again has another one.

    Raises:
        OSError: the root is not a directory, or the address cannot be had.
        ValueError: the certificate or its key cannot be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: ServeOptions | None = None,
        **keywords: Unpack[ServeKeywords],
    ) -> None:
        options = options_of(ServeOptions, options, keywords)
        self.incarnation = new_incarnation()
        service = Service(root, options, self.incarnation)
        sockets = listening_sockets(host, port)
        self.url = url_of(sockets[0], secure=options.certificate is not None)
        self._stops = _Stops()
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(service, sockets, started), name="shuffle-serve", daemon=True
        )
        self._thread.start()
        started.result()

    def close(self) -> None:
        """Finish what is being sent, within ``grace_seconds``, close all connections, and wait for that."""
        self._stops.ask()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PartitionServer {self.url}>"

    def _run(self, service: Service, sockets: Sequence[socket.socket], started: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(_run(service, sockets, self._stops, lambda: started.set_result(None)))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def serve(
    root: str | os.PathLike[str],
    host: str,
    port: int,
    options: ServeOptions,
    announce: Callable[[str], None],
) -> int:
    """Serve the partitioned files below a directory until SIGINT or SIGTERM.

    The first signal stops it gracefully: what is being sent is finished, within ``options.grace_seconds``, and nothing
    new is taken. The second one stops it at once. To be called from the main thread.

    Args:
        root: the directory.
        host, port: where to listen; port 0 is any free one.
        options: limits, secrets, and how files are sent.
        announce: is given the URL as soon as requests are answered.

    Returns:
        The number of the signal.

    Raises:
        OSError: the root is not a directory, or the address cannot be had.
        ValueError: the certificate or its key cannot be used.
    """
    service = Service(root, options, new_incarnation())
    sockets = listening_sockets(host, port)
    stops = _Stops(signal.SIGINT, signal.SIGTERM)
    url = url_of(sockets[0], secure=options.certificate is not None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(service, sockets, stops, lambda: announce(url)))


def new_incarnation() -> str:
    """An identity that no other run of a server has."""
    return secrets.token_hex(8)


class _Stops:
    """Requests to stop: those of signals, and of other threads.

    Args:
        numbers: of signals; the event loop must be the main thread's.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: asyncio.Queue[int] = asyncio.Queue()

    def listen(self) -> None:
        """Take requests, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._requests.put_nowait, int(number))

    async def next(self) -> int:
        """Wait for a request: the number of its signal, 0 without one."""
        return await self._requests.get()

    def ask(self) -> None:
        """Make a request, from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # closed: it has stopped
                self._loop.call_soon_threadsafe(self._requests.put_nowait, 0)


async def _run(service: Service, sockets: Sequence[socket.socket], stops: _Stops, announce: Callable[[], None]) -> int:
    stops.listen()
    await service.start(sockets)
    try:
        announce()
        stopped_by = await stops.next()
    finally:
        service.refuse()
    stopping = asyncio.create_task(service.stop())
    second = asyncio.create_task(stops.next())
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, second):
        task.cancel()
    service.close()
    return stopped_by
