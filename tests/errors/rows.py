"""A row of the tables of errors: how one is provoked for real, of which class it is, and what it says to the letter."""

import ast
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.errors.sites import FILLED, ROOT, Site
from tests.helpers.commands import run

EXAMPLE = "PATH"
"""Stands in a row's text for the directory of the test."""


class Raised(NamedTuple):
    """A call that raises, or warns.

    Attributes:
        error: its class, and no other.
        text: the whole message, ``…`` where it repeats what another program says.
        provoke: what raises it, in an empty directory.
    """

    error: type[BaseException]
    text: str
    provoke: Callable[[Path], object]

    def check(self, directory: Path) -> None:
        if issubclass(self.error, Warning):
            with pytest.warns(self.error) as warned:
                self.provoke(directory)
            (warning,) = warned.list
            message: object = warning.message
        else:
            with warnings.catch_warnings(), pytest.raises(self.error) as caught:
                self.provoke(directory)
            assert type(caught.value) is self.error
            message = caught.value
        assert_says(str(message), self.text, directory)


class Command(NamedTuple):
    """A command that ends with an error.

    Attributes:
        exit_status: of the process.
        text: the whole of its one line, behind ``shuffle: error:``.
        command: what is run, in a directory that ``prepare`` has filled.
        prepare: makes the files.
    """

    exit_status: int
    text: str
    command: str
    prepare: Callable[[Path], object] = lambda _directory: None

    def check(self, directory: Path) -> None:
        self.prepare(directory)
        completed = run(self.command, directory)
        assert completed.returncode == self.exit_status, completed
        *_, line = completed.stderr.splitlines()
        assert_says(line.removeprefix("shuffle: error: ").removeprefix("shuffle: warning: "), self.text, directory)


class Elsewhere(NamedTuple):
    """An error that a test in another place provokes for real.

    Attributes:
        text: the message as it stands in the source, ``…`` for what is filled in.
        test: the file of that test, and its name.
    """

    text: str
    test: str

    def check(self, directory: Path) -> None:
        """The test exists, and waits for these words."""
        del directory
        assert speaks(source_of(self.test), self.text), f"{self.test} does not wait for {self.text!r}"


class Unseen(NamedTuple):
    """An error whose words nothing here can be made to say.

    Attributes:
        text: the message as it stands in the source.
        reason: why not.
    """

    text: str
    reason: str


Provoked = Raised | Command | Elsewhere
Row = Provoked | Unseen
Table = dict[str, list[Row]]
"""The rows of each module, named by its path."""


def wrong(argument: object) -> Any:
    """An argument of a type that is not taken, which a type checker would refuse, too."""
    return argument


def elsewhere(test: str, *texts: str) -> list[Row]:
    """The errors that one test in another place provokes."""
    return [Elsewhere(text, test) for text in texts]


def each_row(table: Table) -> pytest.MarkDecorator:
    """Parametrizes a test with the rows of a table."""
    rows = [(module, row) for module, rows in table.items() for row in rows if not isinstance(row, Unseen)]
    names = [f"{module}: {row.text}" for module, row in rows]
    return pytest.mark.parametrize("row", [row for _, row in rows], ids=names)


def assert_says(message: str, text: str, directory: Path) -> None:
    """A message is the text, but for what is filled in."""
    message = message.replace(str(directory), EXAMPLE)
    pattern = ".*".join(map(re.escape, text.split(FILLED)))
    assert re.fullmatch(pattern, message, re.DOTALL), f"\nsays:    {message}\nexpected: {text}"


def source_of(test: str) -> str:
    """The source of a test, and of the tables of cases that it names, or that these name."""
    file, _, name = test.partition("::")
    source = (ROOT / file).read_text()
    tree = ast.parse(source)
    found = next(
        (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name.split("::")[-1]),
        None,
    )
    assert found is not None, f"there is no test {test}"
    tables = {
        target.id: node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    nodes: list[ast.AST] = [found, *found.decorator_list]
    for node in nodes:  # which grows
        used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        nodes += [tables.pop(name) for name in used & tables.keys()]
    return "\n".join(ast.get_source_segment(source, node) or "" for node in nodes)


def speaks(source: str, text: str) -> bool:
    """Whether the source of a test has words of a message: three that follow each other, or all that it has."""
    source = re.sub(r'"\n\s*r?f?"', "", source).replace("\\", "")
    for fragment in text.split(FILLED):
        words = fragment.strip(" :,;()").split(" ")
        count = min(len(words), 3)
        runs = [" ".join(words[start : start + count]) for start in range(len(words) - count + 1)]
        if any(run.strip(":,;()") in source for run in runs if len(run) > 3):
            return True
    return False


def matched(site: Site, text: str) -> int:
    """How many characters of a message are those of a site's own words; 0 if they are not its words at all."""
    fragments = site.text.split(FILLED)
    if not re.search(".*".join(map(re.escape, fragments)), text, re.DOTALL):
        return 0
    return sum(map(len, fragments))
