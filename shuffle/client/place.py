"""URLs of partitions, parsed and built: server, file, partitions. Pure."""
# PURE

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

_PARTITIONS = re.compile(r"(.*)/partitions/([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Host(NamedTuple):
    """A server.

    Attributes:
        scheme: ``http`` or ``https``.
        name: host name or address.
        port: port number.
    """

    scheme: str
    name: str
    port: int

    def __str__(self) -> str:
        shown = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{shown}:{self.port}"


class Place(NamedTuple):
    """Partitions ``start`` … ``stop - 1`` of a file on a server.

    Attributes:
        host: server of the file.
        file_path: path of the file's URL, percent-encoded.
        start, stop: half-open range of partitions.
        crc32c: checksum that the partitions' bytes must have, or None to trust the checksum that the server sends.
    """

    host: Host
    file_path: str
    start: int
    stop: int
    crc32c: int | None = None

    @classmethod
    def of(cls, file_url: str, start: int, stop: int | None = None, crc32c: int | None = None) -> Place:
        """Return the place of partitions ``start`` … ``stop - 1``, by default one, of the file at ``file_url``.

        Raises:
            ValueError: the URL is not a server's, or the range of partitions is empty or negative.
        """
        host, path = _split(file_url)
        stop = start + 1 if stop is None else stop
        if not 0 <= start < stop:
            raise ValueError(f"{file_url}: there are no partitions from {start} to {stop - 1}")
        return cls(host, path, start, stop, crc32c)

    @classmethod
    def parse(cls, url: str) -> Place | None:
        """Return the place that a URL of partitions names; None for a URL without partitions.

        Raises:
            ValueError: the URL is not a server's.
        """
        host, path = _split(url)
        match = _PARTITIONS.fullmatch(path)
        if match is None:
            return None
        return cls(host, match[1], int(match[2]), int(match[3] or match[2]) + 1)

    @property
    def path(self) -> str:
        """The path of the place's URL."""
        several = f"-{self.stop - 1}" if self.stop - self.start > 1 else ""
        return f"{self.file_path}/partitions/{self.start}{several}"

    @property
    def url(self) -> str:
        """The URL of the place."""
        return f"{self.host}{self.path}"


@lru_cache(1024)
def _split(url: str) -> tuple[Host, str]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url}: not the URL of a server: it begins with http:// or https:// and a name")
    if not parts.path.isascii() or not parts.path.isprintable() or " " in parts.path:
        raise ValueError(f"{url}: a URL's path has other characters percent-encoded")
    return Host(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]), parts.path.rstrip("/")
