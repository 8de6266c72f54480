"""A job's directories on one host, and how the host's server is launched and found. Runs inside tasks."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from shuffle.jobs.descriptor import Server
from shuffle.jobs.exchanges.leases import LEASE, PREFIX, remove_tree, sweep, write_lease
from shuffle.jobs.exchanges.protocol import NO_ROOM

_START_SECONDS = 20
_ASK_SECONDS = 2
SERVER_FILE_BYTES = 4096
"""Room that is taken for the server's file before outputs can fill the disk."""
_LIGHT = {"OPENBLAS_NUM_THREADS": "1", "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Environment of a server, which neither multiplies matrices nor checks certificates: it starts in 0.27 instead of 0.42
seconds of processor time. numpy starts threads otherwise, and aiohttp reads the system's certificates."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a job is at home on a host.

    Attributes:
        job, host: names.
        address: under which other hosts reach this one.
        directories: of the host, as the exchange was given them.
        secret: what servers want to be shown.
        lease_seconds: how long files outlive the last renewal.
    """

    job: str
    host: str
    address: str
    directories: tuple[str, ...]
    secret: str
    lease_seconds: float

    @property
    def homes(self) -> tuple[str, ...]:
        """The job's own directory in each of them."""
        return tuple(os.path.join(directory, f"{PREFIX}{self.job}-{self.host}") for directory in self.directories)

    @property
    def with_room(self) -> tuple[str, ...]:
        """Those of the job's directories that could be made: those of full disks are missing."""
        return tuple(own for own in self.homes if os.path.exists(os.path.join(own, LEASE)))

    @property
    def server_file(self) -> Path:
        """The file in which the server describes itself. Its directory holds the lock for starting a server."""
        return Path((self.with_room or self.homes)[0], "server.json")


def launch_server(home: Home) -> None:
    """See to it that the host has a server, or will have one; do not wait for it.

    Raises:
        OSError: a directory cannot be made, or, with a number of ``NO_ROOM``, none of them.
    """
    if _running(home) is not None or _is_starting(home):
        return
    full = [error for directory in home.homes if (error := _make(directory, home.lease_seconds)) is not None]
    if len(full) == len(home.homes):
        raise full[-1]
    with _locked(home):
        if _running(home) is None and not _is_starting(home):
            _start(home)


def find_server(home: Home) -> Server:
    """The host's server, which was launched.

    Raises:
        TimeoutError: it does not start.
    """
    deadline = time.monotonic() + _START_SECONDS
    while (found := _running(home)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server of host {home.host} did not start within {_START_SECONDS} s")
        launch_server(home)
        time.sleep(0.01)
    return found


def replace_server(home: Home) -> Server:
    """The host's server, if it answers; else another one, in place of one that may hang.

    Raises:
        OSError: it does not start, or there are no directories.
    """
    launch_server(home)
    found = find_server(home)
    if not _answers(home, found):
        with _locked(home):
            if _running(home) == found:
                with suppress(OSError, ValueError, KeyError):
                    os.kill(json.loads(home.server_file.read_text())["pid"], signal.SIGKILL)
                _start(home)
        found = find_server(home)
    return found


def _make(own: str, lease_seconds: float) -> OSError | None:
    """Make one of the job's directories, with a lease and room for the server's file, unless it is there.

    Returns:
        The error of a full disk, or None.
    """
    directory = os.path.dirname(own)
    try:
        os.makedirs(directory, exist_ok=True)
        sweep(directory)
        os.makedirs(own, mode=0o700, exist_ok=True)
        if not os.path.exists(os.path.join(own, LEASE)):
            Path(own, "server.new").write_bytes(bytes(SERVER_FILE_BYTES))
            write_lease(own, lease_seconds)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return error
    return None


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    with open(home.server_file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_starting(home: Home) -> bool:
    """Whether somebody launched a server a short time ago, which may not have written its file yet."""
    try:
        launched = home.server_file.with_suffix(".launched").stat().st_mtime
    except FileNotFoundError:
        return False
    return not home.server_file.exists() and time.time() < launched + _START_SECONDS / 2


def _running(home: Home) -> Server | None:
    """The server that the host's file tells of, if its process lives."""
    try:
        written = json.loads(home.server_file.read_text())
        os.kill(written["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return Server(**written["server"])


def _answers(home: Home, server: Server) -> bool:
    request = urllib.request.Request(server.control_url + "/health", headers={"Authorization": f"Bearer {home.secret}"})
    try:
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _start(home: Home) -> None:
    """Start a server in a process that is nobody's child, so that it can be seen to have died."""
    with suppress(FileNotFoundError):
        home.server_file.replace(home.server_file.with_suffix(".new"))  # the disk may be full by now
    home.server_file.with_suffix(".launched").touch()
    shell = 'exec 3<&0; "$0" -m shuffle.jobs.exchanges.host_server <&3 3<&- &'
    subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable],
        input=json.dumps(asdict(home)).encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**os.environ, **_LIGHT},
        check=True,
    )


def end_home(home: Home) -> None:
    """Remove what the job has on this host. A server that starts yet sees that and ends; one that runs may hang."""
    with suppress(OSError, ValueError, KeyError):
        os.kill(json.loads(home.server_file.read_text())["pid"], signal.SIGKILL)
    for own in home.homes:
        remove_tree(own)
