"""A directory on a file system that all workers share. Its outputs outlive workers and hosts."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Future
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING

from shuffle.jobs.descriptor import Output, Server
from shuffle.jobs.events import Merges
from shuffle.jobs.exchanges.leases import PREFIX, Renewal, remove_tree, renew_lease, sweep, write_lease
from shuffle.jobs.exchanges.protocol import Exchange, JobFiles, Keeper, Place, WhereAmI

if TYPE_CHECKING:
    from shuffle.jobs.engines import Engine


class DirectoryExchange(Exchange):
    """See ``Exchange.directory``."""

    kind = "directory"
    merges: Merges = "shared"

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self._path = os.path.abspath(tempfile.gettempdir() if path is None else path)

    def __repr__(self) -> str:
        return f"Exchange.directory({self._path!r})"

    def keep(self, job: str, secret: str, where: WhereAmI, lease_seconds: float) -> Keeper:
        """As the protocol says; also removes what dead jobs left in the directory."""
        del secret  # who sees the file system sees the files
        sweep(self._path)
        return _DirectoryKeeper(os.path.join(self._path, PREFIX + job), where, lease_seconds)


class _DirectoryKeeper:
    def __init__(self, home: str, where: WhereAmI, lease_seconds: float) -> None:
        self._home = home
        os.makedirs(home, mode=0o700, exist_ok=True)
        write_lease(home, lease_seconds)
        self._renewal = Renewal(lambda: renew_lease(home), lease_seconds / 4)
        self.files: JobFiles = DirectoryFiles(home, where)

    def watch(self, host: str, server: Server) -> None:
        pass

    def unwatch(self, host: str) -> None:
        pass

    def silent(self) -> list[tuple[str, str]]:
        return []

    def revive(self, engine: Engine, host: str) -> Future[Place]:
        raise NotImplementedError  # there are no servers that could fall silent

    def forget(self, output: Output) -> None:
        if output.path is not None:
            unlink_if_there(output.path)

    def close(self, engine: Engine, *, keep: bool) -> None:
        del engine  # the driver sees the directory
        self._renewal.stop()
        if not keep:
            remove_tree(self._home)


class DirectoryFiles:
    """What tasks see of a shared directory."""

    def __init__(self, home: str, where: WhereAmI) -> None:
        self._home = home
        self._where = where

    def prepare(self) -> Place:
        """The directory."""
        return Place("", (self._home,))

    def server(self) -> Server | None:
        """None: files are read where they lie, without a server."""
        return None

    def host(self) -> str:
        """The name of the host on which this runs."""
        return self._where().host

    def is_near(self, host: str) -> bool:
        """All files are."""
        del host
        return True

    def token(self) -> str | None:
        """There are no servers."""
        return None


def unlink_if_there(path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
