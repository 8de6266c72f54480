"""Whose fault it was that partitions did not arrive: the network's, or the server's.

That of the data is a ``SpillError``, as it is for files.
"""
# PURE

from __future__ import annotations

from typing import Any, Self


class FetchError(OSError):
    """Partitions did not arrive. The message names the URL, and so host, file and partitions.

    Attributes:
        url: of what was asked for.
    """

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.url = url
        self.problem = problem

    def of_url(self, url: str) -> Self:
        """The same error of another URL of that server."""
        _, (_, *others) = self.__reduce__()
        return type(self)(url, *others)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.url, self.problem)


class NetworkError(FetchError):
    """The server could not be reached, or broke off again and again."""


class ServerError(FetchError):
    """The server answered, but not with what was asked for.

    Attributes:
        status: of its answer.
    """

    def __init__(self, url: str, problem: str, status: int) -> None:
        super().__init__(url, problem)
        self.status = status

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.url, self.problem, self.status)
