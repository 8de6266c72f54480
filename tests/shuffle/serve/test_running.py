"""How a server runs: its logs, the signals that it heeds, workers, and the sockets that it is given."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shuffle import PartitionServer
from tests.helpers.commands import environment_with, run
from tests.helpers.servers import (
    BOUND_SECONDS,
    Authority,
    Server,
    exchanged,
    get,
    read_all,
    running,
    status_of,
    wait_until,
    with_token,
)

pytestmark = pytest.mark.process
SMALL, LARGE = "/a.arrow/partitions/0", "/deep/large.arrow/partitions/1"


def test_each_request_is_logged_with_its_identity(shared_root: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with PartitionServer(shared_root, access_log=str(log), access_log_format="json") as server:
        exchanged(server, get(SMALL))
        exchanged(server, get(SMALL).replace(b"\r\n\r\n", b"\r\nX-Request-ID: abc-1\r\n\r\n"))
        assert b"\r\nX-Request-ID: abc-1\r\n" in exchanged(
            server, get("/a.arrow").replace(b"\r\n\r\n", b"\r\nX-Request-ID: abc-1\r\n\r\n")
        )
        exchanged(server, get('/"\u2028.arrow'.encode("utf-8", "replace").decode("latin-1")).replace(b"\n", b"\n"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["request"] for line in lines[1:3]] == ["abc-1", "abc-1"]
    assert lines[0]["request"].startswith(server.incarnation)
    assert {**lines[0], "time": "", "request": "", "seconds": 0} == {
        "time": "", "request": "", "client": "127.0.0.1", "method": "GET", "target": SMALL, "route": "partitions",
        "status": 200, "bytes": lines[1]["bytes"], "seconds": 0, "broken_off": False,
    }  # fmt: skip


def test_the_common_format_is_one_line_a_request(shared_root: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with PartitionServer(shared_root, access_log=str(log)) as server:
        exchanged(server, get(SMALL))
    pattern = r'127\.0\.0\.1 - - \[[^]]+\] "GET /a\.arrow/partitions/0 HTTP/1\.1" 200 \d+ \S+ [\d.]+\n'
    assert re.fullmatch(pattern, log.read_text())


def test_a_hangup_reads_tokens_and_certificates_again(shared_root: Path, tmp_path: Path) -> None:
    first, second = Authority(_made(tmp_path / "1")), Authority(_made(tmp_path / "2"))
    certificate = Path(shutil.copy(first.certificate, tmp_path / "server.pem"))
    (tmp_path / "tokens").write_text("old\n")
    log = tmp_path / "access.log"
    options = ("--certificate", certificate, "--token-file", tmp_path / "tokens", "--access-log", log)
    with running(shared_root, *map(str, options)) as server:

        def status(authority: Authority, token: str) -> int | None:
            with (
                server.connect() as plain,
                suppress(ssl.SSLError),
                authority.context().wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(with_token(SMALL, token))
                return status_of(read_all(connection))
            return None

        assert (status(first, "old"), status(first, "new"), status(second, "old")) == (200, 401, None)
        (tmp_path / "tokens").write_text("")
        server.process.send_signal(signal.SIGHUP)  # a file without tokens changes nothing
        for harmless in (signal.SIGUSR1, signal.SIGUSR2):
            server.process.send_signal(harmless)
        time.sleep(0.2)
        assert status(first, "old") == 200
        (tmp_path / "tokens").write_text("new\n")
        shutil.copy(second.certificate, certificate)
        log.rename(tmp_path / "moved.log")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status(second, "new") == 200)
        assert (status(second, "old"), status(first, "new")) == (401, None)
        assert log.exists()
        assert server.stop() == 143


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _workers_of(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_share_an_address_and_are_started_again(shared_root: Path) -> None:
    with running(shared_root, "--workers", "2") as server:
        workers = _workers_of(server)
        assert len(workers) == 2
        for _ in range(20):
            assert server.status_of(SMALL.encode()) == 200
        counted = rb'shuffle_http_requests_total\{route="partitions",status="200"\} 20\.0'
        wait_until(lambda: re.search(counted, server.exchange(get("/metrics"))))
        with server.connect(), server.connect():
            wait_until(lambda: b"\nshuffle_http_connections 3.0\n" in server.exchange(get("/metrics")))
            os.kill(workers[0], signal.SIGKILL)
            wait_until(lambda: len(_workers_of(server)) == 2 and workers[0] not in _workers_of(server))
        assert server.status_of(SMALL.encode()) == 200
        # What the dead one had is nobody's, and the figures of processes are those of all that live.
        wait_until(lambda: b"\nshuffle_http_connections 1.0\n" in server.exchange(get("/metrics")))
        figures = server.exchange(get("/metrics"))
        open_fds = sum(len(os.listdir(f"/proc/{worker}/fd")) for worker in _workers_of(server))
        assert abs(float(re.findall(rb"\nprocess_open_fds (\S+)", figures)[0]) - open_fds) < 6
        started = re.findall(rb"\nprocess_start_time_seconds (\S+)", figures)
        assert abs(float(started[0]) - os.stat(f"/proc/{server.process.pid}").st_ctime) < 10
        assert server.stop() == 143
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_workers_that_cannot_start_end_the_command(tmp_path: Path) -> None:
    completed = run("shuffle serve nowhere --workers 2", tmp_path)
    assert completed.returncode == 2
    assert completed.stderr == f"shuffle: error: no worker could be started: {tmp_path}/nowhere: {os.strerror(2)}\n"


def test_the_parent_of_workers_tells_the_manager_how_they_are(shared_root: Path, tmp_path: Path) -> None:
    environment: dict[str, Any] = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(environment["NOTIFY_SOCKET"])
        manager.settimeout(BOUND_SECONDS)
        with running(shared_root, "--workers", "2", **environment) as server:

            def hear(*words: bytes) -> None:
                for word in words:
                    while not manager.recv(100).startswith(word):
                        pass

            hear(b"READY=1", b"WATCHDOG=1")
            hanging = _workers_of(server)[0]
            os.kill(hanging, signal.SIGSTOP)
            wait_until(lambda: hanging not in _workers_of(server) and len(_workers_of(server)) == 2)
            hear(b"WATCHDOG=1", b"WATCHDOG=1")
            server.process.send_signal(signal.SIGHUP)
            hear(b"RELOADING=1\nMONOTONIC_USEC=", b"READY=1")
            server.process.send_signal(signal.SIGTERM)
            hear(b"STOPPING=1")
            assert server.process.wait(BOUND_SECONDS) == 143


def test_workers_that_finish_answers_take_no_new_connections(shared_root: Path) -> None:
    with running(shared_root, "--workers", "2") as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(get(LARGE))
        assert connection.recv(1000)
        server.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            with suppress(ConnectionResetError):
                try:
                    server.connect().close()
                except ConnectionRefusedError:
                    return True
            return False

        wait_until(is_refused)
        assert read_all(connection).endswith(b"\xff\xff\xff\xff\0\0\0\0")
        assert server.process.wait(BOUND_SECONDS) == 143


def test_workers_end_when_their_parent_is_killed(shared_root: Path) -> None:
    with running(shared_root, "--workers", "2", WATCHDOG_USEC="500000") as server:
        workers = _workers_of(server)
        server.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{worker}/cwd").exists() for worker in workers))


class _ByUnixSocket(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def test_a_unix_socket(shared_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "serve.sock"
    for _ in range(2):  # what a killed server leaves makes room
        with running(shared_root, "--unix", str(path), port=0) as server:
            assert server.url.startswith("http+unix://")
            connection = _ByUnixSocket(str(path))
            connection.request("GET", SMALL, headers={"Host": "localhost"})
            assert connection.getresponse().status == 200
            connection.close()
            completed = run(f"shuffle serve {shared_root} --unix {path}", tmp_path)
            assert completed.returncode == 2
            assert "cannot listen at the unix socket: Address already in use" in completed.stderr
            server.process.kill()


def test_sockets_that_systemd_opened_and_what_it_is_told(shared_root: Path, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(BOUND_SECONDS)
    program = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.dup2(int(sys.argv[1]), 3);"
        "os.execv(sys.executable, [sys.executable, '-m', 'shuffle', 'serve', sys.argv[2]])"
    )
    environment = environment_with(LISTEN_FDS="1", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
    with manager, socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-c", program, str(listening.fileno()), str(shared_root)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, pass_fds=[listening.fileno()]
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"http://127.0.0.1:{port}/\n"
            said = [manager.recv(100), manager.recv(100), manager.recv(100)]
            assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            assert Server(process, f"http://127.0.0.1:{port}").status_of(SMALL.encode()) == 200
            process.send_signal(signal.SIGHUP)
            while not said[-1].startswith(b"RELOADING=1\nMONOTONIC_USEC="):
                said.append(manager.recv(100))
            process.send_signal(signal.SIGTERM)
            while said[-1] != b"STOPPING=1":
                said.append(manager.recv(100))
            assert process.wait(BOUND_SECONDS) == 143


def test_what_is_logged_is_one_line_that_no_terminal_obeys(shared_root: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "two\nlines\x1b[2J"
    tokens.write_text("x")
    with running(shared_root, "--token-file", str(tokens)) as server:
        for content in ("y", ""):
            tokens.write_text(content)
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
        server.stop()
        assert server.process.stderr is not None
        lines = server.process.stderr.read().splitlines()
    said = f"shuffle: all stays as it was: {tmp_path}/two lines\\x1b[2J: there is no token in the file, "
    assert lines[0] == "shuffle: tokens and certificates were read again"
    assert lines[1].startswith(said)
    assert lines[2:] == ["shuffle: terminated"]


def test_who_serves_everybody_is_warned(shared_root: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    token = ("--token-file", str(tmp_path / "token"))
    for options, said in (((), "can read all files below ROOT"), (token, "send their tokens to")):
        with running(shared_root, "--host", "0.0.0.0", *options) as server:
            server.stop()
            assert server.process.stderr is not None
            assert said in server.process.stderr.read()
