"""Errors of fetching partitions: those of the network and those of the server.

Damaged data raises ``SpillError``, as it does in files.
"""
# PURE

from __future__ import annotations

from typing import Any, Self


class FetchError(OSError):
    """Partitions did not arrive. The message names the URL, and so host, file and partitions.

    Attributes:
        url: of the partitions.
    """

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.url = url
        self.problem = problem

    def of_url(self, url: str) -> Self:
        """Return the same error for another URL of the same server."""
        _, (_, *others) = self.__reduce__()
        return type(self)(url, *others)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.url, self.problem)


class NetworkError(FetchError):
    """The server could not be reached, or broke off again and again."""


class ServerError(FetchError):
    """The server answered, but without the partitions.

    Attributes:
        status: of its answer.
    """

    def __init__(self, url: str, problem: str, status: int) -> None:
        super().__init__(url, problem)
        self.status = status

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.url, self.problem, self.status)
