"""What systemd and a service tell each other: sockets that it opened, and how the service is (``sd_notify(3)``)."""

from __future__ import annotations

import os
import socket
import time

_FIRST_DESCRIPTOR = 3


def inherited_sockets() -> list[socket.socket]:
    """The sockets that were opened for this process (``sd_listen_fds(3)``); none where it was not started for them."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # they are not for processes that this one starts
    sockets = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets


def notify(*lines: str) -> None:
    """Tell the service manager something, such as ``READY=1``, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            manager.send("\n".join(lines).encode())
        except OSError:
            return  # a manager that does not listen must not stop a server


def reloading() -> tuple[str, str]:
    """What a service tells while it reads its configuration again."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_seconds() -> float | None:
    """Seconds between two ``WATCHDOG=1``: half of what the service manager waits; None where it does not wait."""
    if not os.environ.get("WATCHDOG_USEC") or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(os.environ["WATCHDOG_USEC"]) / 2e6
