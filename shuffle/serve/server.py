"""Two ways to run a server: until a signal, for a command; and in a thread of a program."""

from __future__ import annotations

import asyncio
import logging
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

from shuffle.http_options import ServeKeywords, ServeOptions
from shuffle.option_kinds import options_of
from shuffle.serve.listening import listening_sockets, url_of
from shuffle.serve.service import Service, loop_factory
from shuffle.serve.systemd import notify, reloading, watchdog_seconds
from spill_format.errors import in_words

_LOGGER = logging.getLogger("shuffle.serve")


class PartitionServer:
    """Serves the partitioned files below a directory, from a thread of its own, until it is closed.

    May be created in any thread, and several times in one process. Raises the process's limit of open files, as far as
    the system allows, to what the server's own limits need.

    Args:
        root: directory whose files are served.
        host, port: address to listen at; port 0 takes any free port.
        options, keywords: limits, secrets, and how files are sent.

    Attributes:
        url: URL of the root, with a slash at its end; append a file's path.
        incarnation: identity of this run of the server, sent with each answer; each start makes a new identity.

    Raises:
        OSError: the root is not a directory, or the address cannot be bound.
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
        self.incarnation: str = new_incarnation()
        service = Service(root, options, self.incarnation)
        sockets = listening_sockets(host, port)
        self.url: str = url_of(sockets[0], secure=options.certificate is not None)
        self._wishes = _Wishes(from_signals=False)
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(service, sockets, started), name="shuffle-serve", daemon=True
        )
        self._thread.start()
        started.result()

    def close(self) -> None:
        """Finish running answers within ``grace_seconds``, close all connections, and return when both are done."""
        self._wishes.ask_to_stop()
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
                runner.run(_run(service, sockets, self._wishes, lambda: started.set_result(None), _do_nothing))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def serve(
    root: str | os.PathLike[str],
    sockets: Sequence[socket.socket],
    options: ServeOptions,
    announce: Callable[[], None],
    incarnation: str = "",
    tell: Callable[..., None] = notify,
) -> int:
    """Serve the partitioned files below a directory until SIGINT or SIGTERM.

    The first signal stops the server gracefully: running answers are finished within ``options.grace_seconds``, and new
    connections are refused. The second signal stops the server at once. SIGHUP reads tokens and certificates again.
    Call from the main thread only.

    Args:
        root: directory whose files are served.
        sockets: bound sockets to listen on; the server owns and closes them.
        options: limits, secrets, and how files are sent.
        announce: called once, as soon as requests are answered.
        incarnation: identity of this run, for processes that share one; empty makes a new identity.
        tell: called with the lines that a service tells its manager, such as ``READY=1``.

    Returns:
        The number of the signal that stopped the server.

    Raises:
        OSError: the root is not a directory.
        ValueError: the certificate or its key cannot be used.
    """
    try:
        service = Service(root, options, incarnation or new_incarnation())
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(service, sockets, _Wishes(from_signals=True), announce, tell))


def new_incarnation() -> str:
    """Return an identity that no other run of a server has."""
    return secrets.token_hex(8)


class _Wishes:
    """Requests to stop or reload a server, made by signals or from other threads.

    Args:
        from_signals: take signals as requests; the event loop must then be the main thread's.
    """

    def __init__(self, *, from_signals: bool) -> None:
        self._from_signals = from_signals
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops: asyncio.Queue[int] = asyncio.Queue()

    def listen(self, reload: Callable[[], None]) -> None:
        """Begin to take requests, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        if not self._from_signals:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stops.put_nowait, int(number))
        self._loop.add_signal_handler(signal.SIGHUP, reload)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self._loop.add_signal_handler(number, _do_nothing)  # by default they kill

    async def stop(self) -> int:
        """Wait for a request to stop; return the number of its signal, 0 if it came from a thread."""
        return await self._stops.get()

    def ask_to_stop(self) -> None:
        """Ask the server to stop; may be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # closed: it has stopped
                self._loop.call_soon_threadsafe(self._stops.put_nowait, 0)


def _do_nothing(*_: object) -> None:
    """Do nothing."""


async def _run(
    service: Service,
    sockets: Sequence[socket.socket],
    wishes: _Wishes,
    announce: Callable[[], None],
    tell: Callable[..., None],
) -> int:
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(service, tell))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    wishes.listen(reload)
    await service.start(sockets)
    try:
        announce()
        tell("READY=1")
        watchdog = asyncio.create_task(_feed_watchdog(tell))
        stopped_by = await wishes.stop()
    finally:
        service.refuse()
    tell("STOPPING=1")
    stopping = asyncio.create_task(service.stop())
    second = asyncio.create_task(wishes.stop())
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, second, watchdog):
        task.cancel()
    service.close()
    return stopped_by


async def _reload(service: Service, tell: Callable[..., None]) -> None:
    tell(*reloading())
    try:
        await service.reload()
        _LOGGER.info("tokens and certificates were read again")
    except (OSError, ValueError) as error:
        _LOGGER.warning("all stays as it was: %s", in_words(error))
    tell("READY=1")


async def _feed_watchdog(tell: Callable[..., None]) -> None:
    seconds = watchdog_seconds()
    while seconds is not None:
        tell("WATCHDOG=1")
        await asyncio.sleep(seconds)
