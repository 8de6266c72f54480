"""What callers can choose about serving and fetching partitions: see ``options.py``, whose rules hold here, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args

from shuffle.option_kinds import Count, Flag, Memory, Seconds, Size, Text, check_choice, check_options
from shuffle.options import FilePath, TransferTo, default_transfer_to
from shuffle.wire import clean_token
from spill_format.storage.local import open_regular

TokenSource = str | os.PathLike[str] | Callable[[], str | bytes] | None


class ServeKeywords(TypedDict, total=False):
    """The keywords of ``ServeOptions``."""

    transfer_to: TransferTo
    token: str | None
    token_file: FilePath | None
    allow_hosts: Sequence[str]
    certificate: FilePath | None
    key: FilePath | None
    client_authority: FilePath | None
    connections: int
    address_connections: int
    sends: int
    queue_seconds: float
    bytes_in_flight: int | str
    header_seconds: float
    idle_seconds: float
    grace_seconds: float
    open_files: int
    layout_bytes: int | str
    access_log: str | None
    access_log_format: Literal["common", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How to serve partitions over HTTP.

    Attributes:
        transfer_to: ``"auto"``: sendfile, and a buffer where the kernel has no sendfile for a file; ``"on"``: sendfile,
            and an error where there is none; ``"off"``: always a buffer. TLS always takes a buffer. The default is
            the environment variable ``SHUFFLE_TRANSFER_TO``, else ``"auto"``.
        token: bearer token that requests must have, or None. Without TLS it is sent unencrypted.
        token_file: path of a file with tokens, one a line, each for all files or, with paths behind it, for the files
            below these. All tokens of the file, and ``token``, hold at once.
        certificate, key: paths of PEM files for TLS. The certificate's file may hold the key, too.
        client_authority: path of a PEM file of authorities; clients must have a certificate from one of them.
        allow_hosts: names beside this machine's own by which clients may call the server; ``"*"`` stands for any name.
            Addresses are always allowed. This keeps web pages from reading answers under a name of their own.
        connections: connections open at a time; further ones are answered 503 and closed.
        address_connections: connections open at a time from one address.
        sends: answers sent at a time; further answers wait.
        queue_seconds: seconds an answer waits for its turn; then the client gets 503.
        bytes_in_flight: memory that all buffered sends together hold, at most; sendfile holds nothing.
        header_seconds: seconds for a request to arrive, for a TLS handshake, and for a connection without a request.
        idle_seconds: seconds for a client to take some more of an answer.
        grace_seconds: seconds for answers to be finished when the server is stopped.
        open_files: files kept open while nobody asks for them.
        layout_bytes: memory of what describes these files.
        access_log: path of a file that gets a line for each request; ``"-"`` is stderr; None for no log.
        access_log_format: ``"common"`` or ``"json"``.
    """

    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    token: Text | None = field(default=None, repr=False)
    token_file: FilePath | None = None
    allow_hosts: Sequence[str] = ()
    certificate: FilePath | None = None
    key: FilePath | None = None
    client_authority: FilePath | None = None
    connections: Count = 4096
    address_connections: Count = 1024
    sends: Count = 1024
    queue_seconds: Seconds = 30
    bytes_in_flight: Memory = 64 << 20
    header_seconds: Seconds = 30
    idle_seconds: Seconds = 60
    grace_seconds: Seconds = 30
    open_files: Count = 256
    layout_bytes: Size = 64 << 20
    access_log: str | None = None
    access_log_format: Literal["common", "json"] = "common"

    if TYPE_CHECKING:

        def __init__(self, **keywords: Unpack[ServeKeywords]) -> None: ...

    def __post_init__(self) -> None:
        check_options(self)
        check_choice("transfer_to", self.transfer_to, get_args(TransferTo))
        check_choice("access_log_format", self.access_log_format, ("common", "json"))
        if self.token is not None:
            clean_token(self.token)
        if self.certificate is None and (self.key is not None or self.client_authority is not None):
            raise ValueError("a key or an authority of clients is of no use without a certificate: give that, too")

    @property
    def buffer_bytes(self) -> int:
        """The bytes that one buffered send may read at a time; asyncio may hold them twice."""
        return min(max(self.bytes_in_flight // (2 * self.sends), 1 << 10), 256 << 10)


@contextmanager
def certificates_in_use(*files: FilePath | None) -> Iterator[None]:
    """Within this, OpenSSL reads files of certificates, keys and authorities; None stands for a file that is not given.

    Raises:
        OSError, SpillError: a file cannot be read, or is a device, pipe or socket.
        ValueError: a file's content cannot be used.
    """
    given = [file for file in files if file is not None]
    for file in given:
        os.close(open_regular(file))  # OpenSSL would wait for the writer of a pipe
    try:
        yield
    except OSError as error:  # OpenSSL's, since the files can be read
        names = ", ".join(map(str, given))
        raise ValueError(f"{names}: no certificate, key or authority that can be used: {error}") from error


class FetchKeywords(TypedDict, total=False):
    """The keywords of ``FetchOptions``."""

    token: TokenSource
    authority: FilePath | None
    certificate: FilePath | None
    key: FilePath | None
    connections: int
    memory_bytes: int | str
    attempts: int
    backoff_seconds: float
    connect_seconds: float
    timeout_seconds: float
    deadline_seconds: float | None
    validate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How to fetch partitions from servers.

    Attributes:
        token: bearer token that servers ask for: the token itself, the path (``pathlib.Path``) of a file with it, or a
            function that returns it. Files and functions are asked again for each request, so a token can change, and
            options that name a file can be sent to other hosts without the secret.
        authority: CA certificates (PEM) that verify servers; by default the system's.
        certificate, key: certificate and key (PEM) that identify this client. One file may hold both.
        connections: requests on their way at the same time, each on its own connection.
        memory_bytes: limit of ``read_many`` for partitions on their way, partitions that wait, and the one given out
            last, after decompression; a number or text such as ``"256MiB"``, the default. A larger partition is
            fetched alone.
        attempts: failures in a row, without a new byte, after which a request is given up.
        backoff_seconds: longest wait after the first failure; each further failure doubles it, up to 30 s. The wait is
            random from half of it on.
        connect_seconds: seconds for a connection to be made.
        timeout_seconds: seconds without a new byte after which a request has failed.
        validate: check all values that arrive (offsets, UTF-8), so that even a forged file cannot crash its reader.
            False trusts the server's files, and saves the time of the check.
        deadline_seconds: seconds for a whole call, all attempts and waits included; None for no limit. The deadline of
            ``read_many`` includes the time that its caller takes between two results.
    """

    token: TokenSource = field(default=None, repr=False)
    authority: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None
    connections: Count = 4
    memory_bytes: Size = 256 << 20
    attempts: Count = 6
    backoff_seconds: Seconds = 0.2
    connect_seconds: Seconds = 10
    timeout_seconds: Seconds = 60
    deadline_seconds: Seconds | None = None
    validate: Flag = True

    if TYPE_CHECKING:

        def __init__(self, **keywords: Unpack[FetchKeywords]) -> None: ...

    def __post_init__(self) -> None:
        check_options(self)
        if isinstance(self.token, str):
            clean_token(self.token)
        if self.certificate is None and self.key is not None:
            raise ValueError("a key is of no use without its certificate: give that, too")

    def current_token(self) -> bytes | None:
        """The token as it is now, or None.

        Raises:
            OSError, SpillError: its file cannot be read, or is a device, pipe or socket.
            ValueError: the token is empty, or has white space in it.
        """
        if self.token is None:
            return None
        if isinstance(self.token, os.PathLike):
            with open(open_regular(self.token), "rb") as file:
                return clean_token(file.read())
        return clean_token(self.token if isinstance(self.token, str) else self.token())
