"""Leases: how the files of a job that died are told from those of one that lives, and removed.

A job's directory holds a file ``lease``. Its modification time is when the lease was renewed last, its content for how
many seconds it holds. Whoever starts a job beside it sweeps what has no lease any more.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

PREFIX = "shuffle-"
"""Of the names of all jobs' directories."""
LEASE = "lease"
"""The file in each of them."""

_LOGGER = logging.getLogger("shuffle.jobs")


def write_lease(directory: str, seconds: float) -> None:
    """Give a directory a lease, or another one; whole or, on a full disk, not at all."""
    written = Path(directory, f"{LEASE}-{secrets.token_hex(4)}")
    written.write_text(f"{seconds}\n")
    written.replace(Path(directory, LEASE))


def renew_lease(directory: str) -> None:
    """The lease holds anew from now on.

    Raises:
        OSError: there is none; the directory may be gone.
    """
    os.utime(os.path.join(directory, LEASE))


def has_lease(directory: str) -> bool:
    """Whether a directory's lease holds. One without a lease, which is about to get one, has a minute."""
    try:
        lease = Path(directory, LEASE)
        seconds = float(lease.read_text())
        renewed = lease.stat().st_mtime
    except (OSError, ValueError):
        try:
            seconds, renewed = 60.0, os.stat(directory).st_mtime
        except OSError:
            return False
    return time.time() < renewed + seconds


def sweep(parent: str) -> list[str]:
    """Remove the directories of jobs that have no lease any more; which they were."""
    swept = []
    with os.scandir(parent) as entries:
        directories = [entry.path for entry in entries if entry.name.startswith(PREFIX) and entry.is_dir()]
    for directory in directories:
        if os.path.exists(os.path.join(directory, LEASE)) and not has_lease(directory):
            _LOGGER.info("removing %s: its job died", directory)
            shutil.rmtree(directory, ignore_errors=True)  # another job may be sweeping it, too
            swept.append(directory)
    return swept


def remove_tree(directory: str) -> None:
    """Remove a directory into which tasks that nobody waits for may be publishing: until nothing is there."""
    for _ in range(100):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            return


class Renewal:
    """A thread that renews something again and again until it is stopped.

    Args:
        renew: what it does; its OSErrors are the business of who reads, later, what was not renewed.
        seconds: between two renewals.
    """

    def __init__(self, renew: Callable[[], None], seconds: float) -> None:
        self._renew = renew
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shuffle-lease", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._renew()
            except OSError as error:
                _LOGGER.warning("a lease could not be renewed: %s", error)

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""
        self._stopped.set()
        self._thread.join()
