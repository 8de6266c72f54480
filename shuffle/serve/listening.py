"""Sockets that a server listens on, and the URLs by which clients find the sockets."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from urllib.parse import quote

BACKLOG = 1024


def listening_sockets(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Bind a socket to each address of a host, all with one port. The caller closes the sockets.

    Args:
        host: name or address of this machine.
        port: port number; 0 takes any free port.
        shared: let other processes listen at the same port, too; the kernel spreads connections over all of them.

    Raises:
        OSError: an address cannot be bound.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind((address[0], port, *address[2:]))
            port = bound.getsockname()[1]
    except BaseException as error:
        for bound in sockets:
            bound.close()
        if isinstance(error, OSError | UnicodeError):  # UnicodeError: no host can have this name
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(errno.EADDRNOTAVAIL, f"cannot listen at {host}:{port}: {reason}") from error
        raise
    return sockets


def unix_socket(path: str) -> socket.socket:
    """Bind a Unix socket to a path; a socket at which no process listens any more is replaced. The caller closes it.

    Raises:
        OSError: the path cannot be bound.
    """
    bound = socket.socket(socket.AF_UNIX)
    try:
        try:
            bound.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_left_over(path):
                problem = f"cannot listen at the unix socket: {error.strerror or error}"  # a long path has none
                raise OSError(error.errno or errno.ENAMETOOLONG, problem, path) from error
            os.unlink(path)
            bound.bind(path)
    except BaseException:
        bound.close()
        raise
    return bound


def is_loopback(listening: socket.socket) -> bool:
    """Tell whether only this machine reaches a socket."""
    if listening.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url_of(listening: socket.socket, *, secure: bool) -> str:
    """Return the URL of a bound socket; for a Unix socket, the path stands in place of the host."""
    if listening.family == socket.AF_UNIX:
        return f"http+unix://{quote(listening.getsockname(), safe='')}/"
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}/"


def _is_left_over(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
    return False
