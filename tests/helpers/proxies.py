"""Other sides of a client: a proxy that does to connections what networks do, a server that says what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, repeat

from tests.helpers.servers import BOUND_SECONDS

Damage = Callable[[bytes, int], bytes | None]
"""What becomes of bytes of an answer that begin at an offset of the connection; None cuts it."""


def whole(piece: bytes, offset: int) -> bytes:
    """No damage."""
    del offset
    return piece


def cut_after(byte_count: int) -> Damage:
    """The connection breaks off after so many bytes."""

    def damage(piece: bytes, offset: int) -> bytes | None:
        return piece[: byte_count - offset] if offset < byte_count else None

    return damage


def flipped_at(position: int) -> Damage:
    """One bit is another."""

    def damage(piece: bytes, offset: int) -> bytes:
        if offset <= position < offset + len(piece):
            changed = bytearray(piece)
            changed[position - offset] ^= 1
            return bytes(changed)
        return piece

    return damage


class Proxy:
    """Passes connections on. ``requests`` are the heads that clients sent, as they were."""

    def __init__(self, target: tuple[str, int], damages: Sequence[Damage], last: Damage) -> None:
        self._target = target
        self._damages = list(damages)
        self._last = last
        self.heads: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.threads: list[threading.Thread] = []
        self.clients: list[socket.socket] = []

    def run(self) -> None:
        """Accept connections until the socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                damage = self._damages.pop(0) if self._damages else self._last
                thread = threading.Thread(target=self._pass_on, args=(client, damage))
                self.clients.append(client)
                self.threads.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket, damage: Damage) -> None:
        with client, socket.create_connection(self._target, timeout=BOUND_SECONDS) as server, suppress(OSError):
            client.settimeout(BOUND_SECONDS)
            back = threading.Thread(target=self._answer, args=(server, client, damage))
            back.start()
            while piece := client.recv(1 << 16):
                self.heads.append(piece)
                server.sendall(piece)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, server: socket.socket, client: socket.socket, damage: Damage) -> None:
        offset = 0
        with suppress(OSError):
            while piece := server.recv(1 << 14):
                damaged = damage(piece, offset)
                if damaged is None:
                    break
                offset += len(piece)
                client.sendall(damaged)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: tuple[str, int], *damages: Damage, last: Damage = whole) -> Iterator[Proxy]:
    """A proxy whose first connections suffer ``damages``, one each, and all others ``last``."""
    proxy = Proxy(target, damages, last)
    accepting = threading.Thread(target=proxy.run)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.listening.shutdown(socket.SHUT_RDWR)
        proxy.listening.close()
        accepting.join()
        for client in proxy.clients:  # clients keep connections for later
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in proxy.threads:
            thread.join(BOUND_SECONDS)


@contextmanager
def scripted_server(answers: Sequence[bytes], *, holding: bool = False) -> Iterator[str]:
    """A server that gives these answers, one a connection, and the last again and again; its URL.

    It closes a connection behind its answer, unless it is ``holding`` them all.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def run() -> None:
        with suppress(OSError):  # closed, at the end
            for each in chain(answers, repeat(answers[-1])):
                connection, _ = listening.accept()
                connection.recv(1 << 16)
                connection.sendall(each)
                held.append(connection)
                if not holding:
                    connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for connection in held:
            connection.close()
