"""Where a server listens: sockets, and the URLs by which clients find them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from urllib.parse import quote

BACKLOG = 1024


def listening_sockets(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """A bound socket for each address of a host, all with one port.

    Args:
        host: a name or an address.
        port: 0 is any free one.
        shared: whether other processes may listen at the same port, which shares connections out to all.

    Raises:
        OSError: an address cannot be had.
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
        if isinstance(error, OSError | UnicodeError):  # the latter of a name that no host can have
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(errno.EADDRNOTAVAIL, f"cannot listen at {host}:{port}: {reason}") from error
        raise
    return sockets


def unix_socket(path: str) -> socket.socket:
    """A socket bound to a path. One that a server left there, and that nobody listens at, makes room.

    Raises:
        OSError: the path cannot be had.
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
    """Whether only this machine reaches a socket."""
    if listening.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url_of(listening: socket.socket, *, secure: bool) -> str:
    """The URL of what a socket is bound to; of a unix socket, with its path in place of a host."""
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
