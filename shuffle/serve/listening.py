"""Where a server listens: sockets, and the URLs by which clients find them."""

from __future__ import annotations

import socket

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
            try:
                bound.bind((address[0], port, *address[2:]))
            except OSError as error:
                raise OSError(error.errno, f"cannot listen at {host}:{port}: {error.strerror}") from error
            port = bound.getsockname()[1]
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def url_of(listening: socket.socket, *, secure: bool) -> str:
    """The URL of what a socket is bound to."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}/"
