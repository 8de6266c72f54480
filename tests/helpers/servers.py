"""Real servers: the command in a process of its own, and raw connections to it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

from shuffle import PartitionServer
from tests.helpers.commands import SCRIPTS, environment_with

BOUND_SECONDS = 30


class Server:
    """A server that runs: its process and its URL, which has no slash at its end."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url.rstrip("/")
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 0)

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(self.address, timeout=BOUND_SECONDS)

    def exchange(self, request: bytes) -> bytes:
        """What is answered to these bytes, up to where the server closes the connection."""
        with self.connect() as connection, suppress(ConnectionError):
            connection.sendall(request)
            return read_all(connection)
        return b""

    def status_of(self, target: bytes, headers: bytes = b"", method: bytes = b"GET") -> int:
        """The status that a request for ``target``, sent as it is, is answered with."""
        head = method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n"
        return int(self.exchange(head).split(b" ", 2)[1])

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Its exit code, after a signal."""
        self.process.send_signal(signal_number)
        return self.process.wait(BOUND_SECONDS)

    def memory_bytes(self) -> int:
        """Anonymous memory that it has now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    def open_files_in(self, directory: Path) -> list[str]:
        """Paths of files below a directory that it has open."""
        links = Path(f"/proc/{self.process.pid}/fd")
        paths = []
        for name in os.listdir(links):
            with suppress(FileNotFoundError):  # closed since it was listed
                paths.append(os.readlink(links / name))
        return [path for path in paths if path.startswith(f"{directory}/")]


@contextmanager
def running(
    root: Path, *options: str, prefix: Sequence[str] = (), port: int = 0, **environment: str
) -> Iterator[Server]:
    """Run ``shuffle serve`` on a directory."""
    place = () if "--unix" in options else ("--port", str(port))
    command = [*prefix, str(SCRIPTS / "shuffle"), "serve", str(root), *place, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with(**environment)
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url.startswith("http"):
                process.kill()
                raise AssertionError(f"the server did not start: {process.communicate()[1]}")
            yield Server(process, url)
        finally:
            if process.poll() is None:
                process.kill()


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end of a connection."""
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def get(target: str) -> bytes:
    """A request after whose answer the connection is closed."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


class Authority:
    """A certificate authority, the server's certificate from it, and what clients need."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        issued = self._authority.issue_cert("127.0.0.1")
        self.certificate = directory / "server.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.certificate))
        self.root = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.root))
        self.client = directory / "client.pem"
        self._authority.issue_cert("client@x").private_key_and_cert_chain_pem.write_to_path(str(self.client))
        self.stranger = directory / "stranger.pem"
        trustme.CA().issue_cert("client@x").private_key_and_cert_chain_pem.write_to_path(str(self.stranger))

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        """What a client that trusts the authority connects with."""
        context = ssl.create_default_context(cafile=str(self.root))
        if client is not None:
            context.load_cert_chain(client)
        return context


def exchanged(server: PartitionServer, request: bytes) -> bytes:
    """What is answered, up to where the server closes the connection."""
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=BOUND_SECONDS) as connection:
        connection.sendall(request)
        return read_all(connection)


def status_of(answered: bytes) -> int:
    return int(answered.split(b" ", 2)[1])


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def with_token(target: str, token: str) -> bytes:
    return get(target).replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
