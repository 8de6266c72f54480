"""Bearer tokens and their rights: several tokens may be valid at once, each for all files or for some paths."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from typing import NamedTuple

from shuffle.http_options import ServeOptions
from shuffle.wire import clean_token
from spill_format.storage.local import open_regular


class Rights(NamedTuple):
    """The files that a request may read.

    Attributes:
        prefixes: of paths below the root, without slashes at their ends; None for all files and the server's figures.
    """

    prefixes: tuple[str, ...] | None

    def allow(self, name: str) -> bool:
        """Whether the file of a name may be read."""
        return self.prefixes is None or any(name == each or name.startswith(f"{each}/") for each in self.prefixes)


ALL = Rights(None)


class Tokens:
    """The tokens of a server, as they are when this is made.

    Args:
        options: have the tokens, or their file: a token a line, followed by paths if it is valid only below these.
            Empty lines, and lines that begin with ``#``, are skipped.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has no token, or a path in it does not start with a slash.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._rights: dict[bytes, Rights] = {}
        if options.token is not None:
            self._rights[clean_token(options.token)] = ALL
        if options.token_file is not None:
            path = os.fspath(options.token_file)
            with open(open_regular(path), "rb") as file:
                self._rights |= dict(_parsed(file.read(), path))

    @property
    def are_needed(self) -> bool:
        """Whether requests need a token."""
        return bool(self._rights)

    def rights_of(self, authorization: bytes) -> Rights | None:
        """What the value of an ``Authorization`` field gives a right to; None where it gives none.

        All tokens are compared, each in a time that does not depend on where it differs.
        """
        if not self._rights:
            return ALL
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        found: Rights | None = None
        for token, rights in self._rights.items():
            if hmac.compare_digest(token, given):
                found = rights
        return found if scheme.lower() == b"bearer" else None


def _parsed(content: bytes, path: str) -> Iterator[tuple[bytes, Rights]]:
    has_token = False
    for number, line in enumerate(content.splitlines(), start=1):
        token, *prefixes = line.split()[:1000] or [b"#"]
        if token.startswith(b"#"):
            continue
        if not all(prefix.startswith(b"/") for prefix in prefixes):
            raise ValueError(f"{path}, line {number}: a path behind a token starts with a slash")
        names = tuple(prefix.decode("utf-8", "surrogateescape").strip("/") for prefix in prefixes)
        has_token = True
        yield clean_token(token), Rights(names) if prefixes and "" not in names else ALL
    if not has_token:
        raise ValueError(f"{path}: there is no token in the file, which protects nothing")
