"""How many cores this process may use: those of its affinity, and no more than its control groups grant time for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


def usable_cores() -> int:
    """Cores that this process may run on at the same time; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_cores()
    return cores if granted is None else max(min(cores, round(granted)), 1)


def granted_cores(root: str = "/") -> float | None:
    """The least number of cores whose time a control group of this process grants, as containers have it; None where
    none sets a limit. ``root`` is where ``proc`` and ``sys`` lie; for tests."""
    try:
        with open(os.path.join(root, "proc/self/cgroup")) as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    limits = []
    for _, controllers, path in (group for group in groups if len(group) == 3):
        if not controllers:
            limits += [_limit_of(directory) for directory in _with_parents(root, "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            for mount in (f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu"):
                limits += [_old_limit_of(directory) for directory in _with_parents(root, mount, path)]
    return min((limit for limit in limits if limit is not None), default=None)


def _with_parents(root: str, mount: str, path: str) -> Iterator[str]:
    """The directories of a control group and of those that it lies in; in a container its path may lead nowhere."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    for count in range(len(parts), -1, -1):
        yield os.path.join(root, mount, *parts[:count])


def _limit_of(directory: str) -> float | None:
    """Of a group of version 2: ``cpu.max`` holds the time granted, or ``max``, and the period."""
    with suppress(OSError, ValueError), open(os.path.join(directory, "cpu.max")) as file:
        granted, period = file.read().split()
        return None if granted == "max" else int(granted) / int(period)
    return None


def _old_limit_of(directory: str) -> float | None:
    """Of a group of version 1: two files, and -1 for no limit."""
    numbers = []
    for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
        with suppress(OSError, ValueError), open(os.path.join(directory, name)) as file:
            numbers.append(int(file.read()))
    return numbers[0] / numbers[1] if len(numbers) == 2 and min(numbers) > 0 else None
