"""The hosts' own disks. Outputs stay where they were made; one server a host, outside the workers, hands them out.

The first task on a host starts the server; a lock decides who that is. The server lives until its lease ends, and
removes the job's files on that host then. Where the files are, and what the server's file says, is told by ``home.py``.
"""

from __future__ import annotations

import hmac
import http.client
import os
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shuffle.jobs.descriptor import Output, Server
from shuffle.jobs.events import Merges
from shuffle.jobs.exchanges.home import Home, end_home, find_server, launch_server, replace_server
from shuffle.jobs.exchanges.leases import Renewal
from shuffle.jobs.exchanges.protocol import Exchange, JobFiles, Keeper, Place, WhereAmI

if TYPE_CHECKING:
    from shuffle.jobs.engines import Engine

_LONGEST_RENEWAL_SECONDS = 1.0
_ASK_SECONDS = 2.0
"""For a server to answer whether it is there; it has nothing else to do on that port."""

_END_SECONDS = 5.0


class HostsExchange(Exchange):
    """See ``Exchange.hosts``."""

    kind = "hosts"
    merges: Merges = "host"

    def __init__(
        self, directories: Sequence[str | PathLike[str]], secret_file: str | PathLike[str] | None = None
    ) -> None:
        if isinstance(directories, (str, os.PathLike)) or not directories:
            raise ValueError(f"directories takes one or more, in a list: not {directories!r}")
        self._directories = tuple(os.path.abspath(directory) for directory in directories)
        self._secret_file = None if secret_file is None else Path(os.path.abspath(secret_file))

    def __repr__(self) -> str:
        return f"Exchange.hosts({list(self._directories)!r})"

    def keep(self, job: str, secret: str, where: WhereAmI, lease_seconds: float) -> Keeper:
        """As the protocol says. Nothing happens before the first task runs."""
        return _HostsKeeper(HostFiles(job, self._directories, self._secret_file or secret, where, lease_seconds))


class HostFiles:
    """What tasks see of the disks of hosts; ``secret`` may be the path of a file that each host has."""

    def __init__(
        self, job: str, directories: tuple[str, ...], secret: str | Path, where: WhereAmI, lease_seconds: float
    ) -> None:
        self._job = job
        self._directories = directories
        self._secret = secret
        self._where = where
        self.lease_seconds = lease_seconds

    def __repr__(self) -> str:
        return f"HostFiles({self._job!r}, {self._directories!r})"  # without the secret

    def prepare(self) -> Place:
        """Directories of this host. A host without a server gets one, which starts while the task works."""
        home = self._home()
        launch_server(home)
        return Place(home.host, home.with_room)

    def server(self) -> Server | None:
        """The server of this host."""
        return find_server(self._home())

    def revived(self) -> Place:
        """Directories of this host, and a server that answers."""
        home = self._home()
        return Place(home.host, home.with_room, replace_server(home))

    def end(self) -> None:
        """Remove what the job has on this host."""
        end_home(self._home())

    def _home(self) -> Home:
        where = self._where()
        return Home(self._job, where.host, where.address, self._directories, self.token(), self.lease_seconds)

    def host(self) -> str:
        """The name of the host on which this runs."""
        return self._where().host

    def is_near(self, host: str) -> bool:
        """Those of this host are."""
        return host == self.host()

    def token(self) -> str:
        """The job's secret; or, where a file holds a secret of all jobs, what follows from it for this job.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is empty, or others may read it.
        """
        if isinstance(self._secret, str):
            return self._secret
        with open(self._secret, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ValueError(f"{self._secret}: a secret file must be readable by its owner alone (chmod 600)")
            if not (secret := file.read().strip()):
                raise ValueError(f"{self._secret}: the secret file is empty")
        return hmac.digest(secret, self._job.encode(), "sha256").hex()

    def ask(self, server: Server, method: str, path: str, body: str = "") -> None:
        """Ask a server's control port for something.

        Raises:
            OSError: it does not answer, or with a refusal.
        """
        address = urlsplit(server.control_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ASK_SECONDS)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token()}"})
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise ConnectionError(f"{server.control_url}: no answer of HTTP: {error!r}") from error
        finally:
            connection.close()
        if status != 200:
            raise ConnectionError(f"{server.control_url}{path}: answered with {status}")


class _HostsKeeper:
    """Renews the leases at all servers; one that does not answer is told of once."""

    def __init__(self, files: HostFiles) -> None:
        self.files: JobFiles = files
        self._files = files
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._silent: dict[str, str] = {}
        self._askers = ThreadPoolExecutor(8, "shuffle-lease")
        self._renewal = Renewal(self._renew_all, min(files.lease_seconds / 4, _LONGEST_RENEWAL_SECONDS))

    def watch(self, host: str, server: Server) -> None:
        with self._lock:
            self._servers[host] = server

    def unwatch(self, host: str) -> None:
        with self._lock:
            self._servers.pop(host, None)
            self._silent.pop(host, None)

    def silent(self) -> list[tuple[str, str]]:
        with self._lock:
            silent, self._silent = self._silent, {}
        return list(silent.items())

    def revive(self, engine: Engine, host: str) -> Future[Place]:
        """Ask the server once more; if it is silent, start another one with a task on its host."""
        with self._lock:
            server = self._servers.get(host)
        if server is not None:
            try:
                self._files.ask(server, "GET", "/health")
            except OSError:
                pass
            else:
                there: Future[Place] = Future()
                there.set_result(Place(host, (), server))
                return there
        try:
            return engine.submit(self._files.revived, host=host)
        except Exception as error:  # noqa: BLE001 (the future has it: no worker is left there)
            failed: Future[Place] = Future()
            failed.set_exception(error)
            return failed

    def forget(self, output: Output) -> None:
        """The file goes with the job, or at once if the server can be told."""
        if output.path is not None and output.server is not None:
            self._tell(output.host, output.server, "/forget", output.path)

    def close(self, engine: Engine, *, keep: bool) -> None:
        self._renewal.stop()
        with self._lock:
            servers, self._servers = self._servers, {}
            self._silent.clear()
        if not keep:
            asked = {
                host: self._askers.submit(self._files.ask, server, "POST", "/end") for host, server in servers.items()
            }
            self._end_unknown(engine, [host for host, answer in asked.items() if answer.exception() is None])
        self._askers.shutdown(wait=False)

    def _end_unknown(self, engine: Engine, ended: Collection[str]) -> None:
        """Remove files where a task may have been that never answered, and where a server hangs."""
        hosts = engine.hosts()
        unknown = set(hosts) - set(ended) if hosts is not None else {""} - {"" for _ in ended}
        calls = []
        for host in unknown:
            with suppress(Exception):  # a host that goes has a lease that ends
                calls.append(engine.submit(self._files.end, host=host))
        wait(calls, _END_SECONDS)

    def _renew_all(self) -> None:
        with self._lock:
            servers = list(self._servers.items())
        list(self._askers.map(lambda entry: self._tell(entry[0], entry[1], "/renew"), servers))

    def _tell(self, host: str, server: Server, path: str, body: str = "") -> None:
        try:
            self._files.ask(server, "POST", path, body)
        except OSError as error:
            with self._lock:
                if self._servers.get(host) == server:
                    self._silent[host] = str(error)
