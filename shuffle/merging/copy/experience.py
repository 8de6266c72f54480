"""What the kernel said before: methods that it refused between two devices, so that they are not asked for again."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable

from shuffle.options import MethodName

_LASTING = frozenset({errno.ENOSYS, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY})
"""Answers that the same two devices will give again; the others may be due to one file or one range."""


class Experience:
    """Refusals, by method and pair of devices. Thread-safe; lives as long as the process."""

    def __init__(self) -> None:
        self._refused: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()

    def learn(self, method: str, source_device: int, target_device: int, answer: int | None) -> None:
        """Note that a method stopped with errno ``answer``, where that is how it will stay."""
        if answer in _LASTING:
            with self._lock:
                self._refused.add((method, source_device, target_device))

    def refused(self, source_devices: Iterable[int], target_device: int) -> frozenset[MethodName]:
        """The methods that were refused from one of the sources' devices to the target's."""
        devices = frozenset(source_devices)
        with self._lock:
            return frozenset(
                method  # type: ignore[misc]  # only names of methods are ever noted
                for method, source_device, device in self._refused
                if device == target_device and source_device in devices
            )
