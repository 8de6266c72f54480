"""What an exchange is: what tasks see of it, and what the driver sees.

An implementation has three parts. The ``Exchange`` is what a caller chooses. ``JobFiles`` is picklable and goes to each
task: where files go, how they are read. The ``Keeper`` is the driver's: it holds the job's lease and removes its files.
"""

from __future__ import annotations

import abc
import errno
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shuffle.jobs.descriptor import Output, Server
from shuffle.jobs.events import Merges

if TYPE_CHECKING:
    from shuffle.jobs.engines import Engine


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Error numbers of a directory that cannot be written to, where another may."""


class Where(NamedTuple):
    """The host on which a task runs.

    Attributes:
        host: its name, by which an engine can place a task there.
        address: under which other hosts reach it.
    """

    host: str
    address: str


WhereAmI = Callable[[], Where]
"""Asked inside a task; picklable."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task puts what it publishes.

    Attributes:
        host: name of the host, empty where all hosts share the files.
        directories: of the job, to be tried in this order.
        server: of the host's files, where it was asked for.
    """

    host: str
    directories: tuple[str, ...]
    server: Server | None = None


class JobFiles(Protocol):
    """A job's files, as its tasks see them. Picklable."""

    def prepare(self) -> Place:
        """Where outputs go on this host. Makes directories where there are none, and begins to start a server.

        Raises:
            OSError: a number of ``NO_ROOM``: no disk has room.
        """

    def server(self) -> Server | None:
        """The server of what was published on this host; None where files need none."""

    def host(self) -> str:
        """The name of the host on which this runs."""

    def is_near(self, host: str) -> bool:
        """Whether files of a host can be mapped here, by their paths."""

    def token(self) -> str | None:
        """What servers want to be shown, or None."""


class Keeper(Protocol):
    """A job's files, as its driver sees them: alive as long as this is."""

    @property
    def files(self) -> JobFiles:
        """What tasks are given."""

    def watch(self, host: str, server: Server) -> None:
        """Renew the lease at a host's server from now on."""

    def unwatch(self, host: str) -> None:
        """The host is lost."""

    def silent(self) -> list[tuple[str, str]]:
        """Hosts whose servers fell silent since this was asked last, and why that is known."""

    def revive(self, engine: Engine, host: str) -> Future[Place]:
        """See to it that a host has a server; the future tells which, or fails if the host is lost."""

    def forget(self, output: Output) -> None:
        """Remove a file that nobody needs."""

    def close(self, engine: Engine, *, keep: bool) -> None:
        """End the lease and remove everything; or, to be resumed, leave everything until the lease ends by itself."""


class Exchange(abc.ABC):
    """The medium between map and reduce tasks.

    ``Exchange.directory(path)``: a file system that all workers share. ``Exchange.hosts(directories)``: each host keeps
    its outputs on its own disks, and one server a host hands them out.
    """

    kind: str
    merges: Merges
    """Who may merge outputs: any worker, or those of the host where they lie."""

    @abc.abstractmethod
    def keep(self, job: str, secret: str, where: WhereAmI, lease_seconds: float) -> Keeper:
        """Begin a job, or take it over: make room, hold its lease.

        Args:
            job: its name.
            secret: random; what servers will want to be shown.
            where: tells a task its host.
            lease_seconds: after so many without a renewal, others may remove the job's files.
        """

    @staticmethod
    def directory(path: str | PathLike[str] | None = None) -> Exchange:
        """Files in a directory that all workers see under the same path.

        Args:
            path: the directory; None for the system's temporary one, which workers of other hosts do not see.
        """
        from shuffle.jobs.exchanges.directory import DirectoryExchange

        return DirectoryExchange(path)

    @staticmethod
    def hosts(
        directories: Sequence[str | PathLike[str]], *, secret_file: str | PathLike[str] | None = None
    ) -> Exchange:
        """Files on the disks of the hosts where they are made, handed out by one server a host.

        Args:
            directories: on each host, best one a disk; when one is full, the next is taken.
            secret_file: path of a file that the driver and each host have, with the same secret and mode 0600. The
                token of a job's servers follows from the secret. By default a random token travels to tasks in their
                arguments.
        """
        from shuffle.jobs.exchanges.hosts import HostsExchange

        return HostsExchange(directories, secret_file)
