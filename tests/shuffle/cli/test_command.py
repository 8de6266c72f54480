"""What every command is: options under headings, and none that is given twice takes the last in silence."""

import re
from pathlib import Path

import click
import pytest

from shuffle.cli import COMMANDS, shuffle
from shuffle.cli.command import Command
from tests.helpers.commands import error_of, run, succeeded


def commands() -> list[Command]:
    context = click.Context(shuffle)
    found = [shuffle.get_command(context, name) for name in COMMANDS]
    return [command for command in found if isinstance(command, Command)]


def test_every_command_has_headings() -> None:
    assert [command.name for command in commands()] == list(COMMANDS)


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_option_is_under_a_heading(command: Command, tmp_path: Path) -> None:
    shown = succeeded(f"shuffle {command.name} --help", tmp_path)
    others = shown.partition("Others:")[2].partition("Examples:")[0]
    assert set(re.findall(r"^  (-\S+)", others, re.MULTILINE)) <= {"--debug", "--version", "-h,"}


def test_one_option_has_one_meaning() -> None:
    """Options of a name are one parameter of one type in all commands; their help and default may differ."""
    types: dict[str, dict[str, str]] = {}
    for command in commands():
        for option in command.params:
            for name in option.opts if isinstance(option, click.Option) else ():
                types.setdefault(name, {})[str(command.name)] = f"{option.name} {type(option.type)}"
    assert {name: found for name, found in types.items() if len(set(found.values())) > 1} == {}


@pytest.mark.parametrize(
    ("arguments", "name", "count"),
    [
        ("read a.arrow -p 3 -p 5", "--partition", 2),
        ("read a.arrow -o a.csv --output b.csv -o c.csv", "--output", 3),
        ("partition a.csv --where a=1 --where b=1 --by a --partitions 1 -o b.arrow", "--where", 2),
        ("partition a.csv --csv-header --no-csv-header --by a --partitions 1 -o b.arrow", "--csv-header", 2),
        ("merge a.arrow --progress --no-progress -o b.arrow", "--progress", 2),
        ("fetch http://a -p 1 -p 2", "--partition", 2),
    ],
)
def test_an_option_given_twice_is_refused(tmp_path: Path, arguments: str, name: str, count: int) -> None:
    assert f"{name} is given {count} times, and takes one value" in error_of(run(f"shuffle {arguments}", tmp_path))


def test_what_collects_or_says_the_same_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    flags = "--by a --by b --quiet --quiet --csv-null x --csv-null y --spill-dir . --spill-dir ."
    assert succeeded(f"shuffle partition a.csv {flags} --partitions 1 -o b.arrow", tmp_path) == ""
