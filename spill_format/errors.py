"""The errors that concern files: one root, a few kinds, each naming file, place, expected and actual.

Wrong arguments are ``ValueError`` or ``TypeError`` and the operating system's errors stay ``OSError``; neither is
wrapped in these.
"""
# PURE

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike


REPAIR_ADVICE = "`shuffle repair FILE -o OUT` recovers what is whole"
"""What to do about a damaged partitioned file."""


class SpillError(Exception):
    """Something is wrong with a file. The message names the file, the place, what was expected and what is there.

    Attributes:
        problem: what is wrong, without the place.
        path: the file, or None when the bytes had no name.
        partition: the partition concerned, or None.
        offset: the byte offset in the file, or None.
        expected, actual: what should be there and what is, or None.
        advice: what the reader can do about it, or None.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | PathLike[str] | None = None,
        partition: int | None = None,
        offset: int | None = None,
        expected: object = None,
        actual: object = None,
        advice: str | None = None,
    ) -> None:
        self.problem = problem
        self.path = path
        self.partition = partition
        self.offset = offset
        self.expected = expected
        self.actual = actual
        self.advice = advice
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        place = [] if self.path is None else [str(self.path)]
        if self.partition is not None:
            place.append(f"partition {self.partition}")
        if self.offset is not None:
            place.append(f"offset {self.offset}")
        sentence = f"{', '.join(place)}: {self.problem}" if place else self.problem
        figures = {"expected": self.expected, "found": self.actual}
        if known := [f"{name} {figure}" for name, figure in figures.items() if figure is not None]:
            sentence += f": {', '.join(known)}"
        return f"{sentence}; {self.advice}" if self.advice else sentence

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments defeat the default pickling of exceptions, and an error that cannot be unpickled
        # hangs a process pool instead of reporting itself.
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[SpillError], fields: dict[str, Any]) -> SpillError:
    error = kind.__new__(kind)
    error.__dict__.update(fields)
    Exception.__init__(error, error._sentence())
    return error


class CorruptError(SpillError):
    """The file's bytes contradict the format."""


class TruncatedError(CorruptError):
    """The file ends before the bytes that it promises."""


class ChecksumError(CorruptError):
    """Bytes do not have the checksum recorded for them."""


class VersionError(SpillError):
    """The file was written by a newer major version of the format."""


class NotPartitionedError(SpillError):
    """A sound Arrow file, but one without a partition index."""


class MismatchError(SpillError):
    """Two sources cannot be merged: their schemas, partition counts or formats differ."""


class PositionError(SpillError):
    """After a copy, a file position or a sum of bytes is not what it must be."""


class TargetExistsError(SpillError):
    """The target is already there, and replacing it was not asked for."""


def in_words(error: BaseException) -> str:
    """An error as people read it: the operating system's without its number and behind the file that it concerns."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    names = [
        name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
        for name in (error.filename, error.filename2)
        if isinstance(name, (str, bytes))
    ]
    return ": ".join([" -> ".join(names), error.strerror] if names else [error.strerror])


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """Let an OSError of a system call that knows only a descriptor name the file, or where the file lies."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
