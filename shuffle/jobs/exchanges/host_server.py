"""The process that serves a job's files on one host: started by a task, outliving workers, ended by its lease.

It is told on stdin where it is, and writes where it can be reached into the host's server file. Beside the port on
which partitions are served it has one where its lease is renewed, files are forgotten, and the job is ended.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shuffle.http_options import ServeOptions
from shuffle.jobs.descriptor import Server
from shuffle.jobs.exchanges.home import SERVER_FILE_BYTES, Home
from shuffle.jobs.exchanges.leases import has_lease, remove_tree, renew_lease
from shuffle.serve.server import PartitionServer

_LOOK_SECONDS = 0.25


class _Control(ThreadingHTTPServer):
    """The port where the driver renews the lease."""

    daemon_threads = True

    def __init__(self, home: Home) -> None:
        super().__init__((home.address, 0), _Request)
        self.home = home
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.home.address}:{self.server_port}"


class _Request(BaseHTTPRequestHandler):
    server: _Control
    timeout = 10

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Say nothing: nobody reads it."""

    def _answer(self) -> None:
        shown = self.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self.server.home.secret}".encode()):
            self.send_error(401)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path == "/renew":
            for own in self.server.home.homes:
                with suppress(OSError):  # a disk may be lost
                    renew_lease(own)
        elif self.path == "/forget" and os.path.dirname(body) in self.server.home.homes:
            Path(body).unlink(missing_ok=True)
        elif self.path == "/end":
            for own in self.server.home.homes:
                remove_tree(own)
        elif self.path != "/health":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/end":
            self.server.ended.set()


def serve_home(home: Home) -> None:
    """Serve until the lease ends; then remove the job's files on this host."""
    with ExitStack() as stack:
        options = ServeOptions(token=home.secret)
        urls = {
            own: stack.enter_context(PartitionServer(own, host=home.address, options=options)).url
            for own in home.with_room
        }
        control = stack.enter_context(_Control(home))
        threading.Thread(target=control.serve_forever, daemon=True).start()
        server = Server(incarnation=secrets.token_hex(8), control_url=control.url, urls=urls)
        for own in urls:
            renew_lease(own)  # it takes seconds to start on a busy machine
        written = home.server_file.with_suffix(".new")
        with open(written, "r+") as file:  # not truncated: its blocks are needed on a disk that is full
            file.write(json.dumps({"pid": os.getpid(), "server": asdict(server)}).ljust(SERVER_FILE_BYTES))
        written.replace(home.server_file)
        while not control.ended.wait(_LOOK_SECONDS) and any(map(has_lease, home.with_room)):
            pass
        for own in home.homes:
            remove_tree(own)
        os._exit(0)  # nobody waits for what is still being sent


def main() -> None:
    """Serve the home that stdin tells of."""
    values = json.loads(sys.stdin.read())
    serve_home(Home(**{**values, "directories": tuple(values["directories"])}))


if __name__ == "__main__":
    main()
