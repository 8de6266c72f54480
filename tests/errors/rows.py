"""A row of the tables of errors: how an error is provoked for real, of which class it is, and a phrase that it says."""

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spill_format import SpillError
from tests.errors.messages import FILLED
from tests.helpers.commands import run


class Raised(NamedTuple):
    """A call that raises, or warns.

    Attributes:
        error: its class, and no other.
        phrase: what the message says, ``…`` where something is filled in.
        provoke: what raises the error, in an empty directory.
    """

    error: type[BaseException]
    phrase: str
    provoke: Callable[[Path], object]

    def check(self, directory: Path) -> None:
        if issubclass(self.error, Warning):
            with pytest.warns(self.error) as warned:
                self.provoke(directory)
            (warning,) = warned.list
            assert_says(str(warning.message), self.phrase)
            return
        with warnings.catch_warnings(), pytest.raises(self.error) as caught:
            self.provoke(directory)
        assert type(caught.value) is self.error
        assert_says(str(caught.value), self.phrase)
        if isinstance(caught.value, SpillError) and caught.value.path is not None:
            assert str(caught.value).startswith(str(caught.value.path))


class Command(NamedTuple):
    """A command that ends with an error.

    Attributes:
        exit_code: of the command.
        phrase: what its last line says.
        command: what is run, in a directory that ``prepare`` has filled.
        prepare: makes the files.
    """

    exit_code: int
    phrase: str
    command: str
    prepare: Callable[[Path], object] = lambda _directory: None

    def check(self, directory: Path) -> None:
        self.prepare(directory)
        completed = run(self.command, directory)
        assert completed.returncode == self.exit_code, completed
        assert_says(completed.stderr.splitlines()[-1], self.phrase)


Row = Raised | Command


def wrong(argument: object) -> Any:
    """An argument of a type that is not taken, which a type checker would refuse, too."""
    return argument


def each_row(rows: Sequence[Row]) -> pytest.MarkDecorator:
    """Parametrizes a test with rows, which are named by their phrases."""
    return pytest.mark.parametrize("row", rows, ids=[row.phrase for row in rows])


def assert_says(message: str, phrase: str) -> None:
    pattern = ".*".join(map(re.escape, phrase.split(FILLED)))
    assert re.search(pattern, message, re.DOTALL), f"\nsays:     {message}\nexpected: {phrase}"
