"""The law of the tables: each message of the source is in one of them, and each row is of a message of the source."""

import ast

import pytest

from tests.errors import (
    test_argument_errors,
    test_command_errors,
    test_content_errors,
    test_input_errors,
    test_merge_errors,
    test_partitioner_errors,
    test_serving_errors,
    test_spark_errors,
    test_structure_errors,
    test_testing_errors,
)
from tests.errors.rows import matched, source_of, speaks
from tests.errors.sites import Site, all_sites, makes_spill_errors, sites_of

TABLES = (
    test_argument_errors.TABLE,
    test_command_errors.TABLE,
    test_content_errors.TABLE,
    test_input_errors.TABLE,
    test_merge_errors.TABLE,
    test_partitioner_errors.TABLE,
    test_serving_errors.ANSWERS,
    test_serving_errors.TABLE,
    test_spark_errors.TABLE,
    test_structure_errors.TABLE,
    test_testing_errors.TABLE,
)
SITES = all_sites()
Listed = tuple[str, str]
"""A module, and the text of a row."""
ROWS: list[Listed] = [(module, row.text) for table in TABLES for module, rows in table.items() for row in rows]

WITHOUT_A_FILE = {
    "the file was replaced on the server while it was being passed on": "the sink of a pipe knows no URL",
}
"""Errors about a file that have no name to tell, and why."""


def of_best_match(sites: list[Site], text: str) -> set[str]:
    """The messages that a row may be of: those that have most of its words, and the parts of messages likewise."""
    found = set()
    for is_part in (False, True):
        matches = {site.text: matched(site, text) for site in sites if site.is_part is is_part}
        most = max(matches.values(), default=0)
        found |= {message for message, count in matches.items() if most and count == most}
    return found


def unlisted(sites: list[Site], rows: list[Listed]) -> list[str]:
    """The messages of the source that no row is of."""
    listed = {(module, text) for module, row in rows for text in of_best_match(of_module(sites, module), row)}
    return [f"{site.module}:{site.line}: {site.text}" for site in sites if (site.module, site.text) not in listed]


def unfounded(sites: list[Site], rows: list[Listed]) -> list[str]:
    """The rows that are of no message of the source."""
    return [f"{module}: {text}" for module, text in rows if not of_best_match(of_module(sites, module), text)]


def of_module(sites: list[Site], module: str) -> list[Site]:
    return [site for site in sites if site.module == module]


def test_every_message_of_the_source_is_in_a_table() -> None:
    assert unlisted(SITES, ROWS) == [], "each needs a row in a table of tests/errors/"


def test_every_row_is_of_a_message_of_the_source() -> None:
    assert unfounded(SITES, ROWS) == []


def test_every_error_about_a_file_names_it() -> None:
    nameless = [site for site in SITES if makes_spill_errors(site) and "path" not in site.keywords]

    assert [site for site in nameless if site.text not in WITHOUT_A_FILE] == []


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("raise ValueError('no rows')", ["no rows"]),
        ("raise ValueError(f'{count} rows in {path}: none wanted')", ["… rows in …: none wanted"]),
        ("raise OSError(errno.EIO, 'no disk', path)", ["no disk"]),
        ("raise OSError(errno.EIO, os.strerror(errno.EIO), path)", []),
        ("raise ValueError('lost ' + 'rows' if lost else 'found rows')", ["found rows", "lost rows"]),
        ("raise error", []),
        ("raise click.UsageError('not both')", ["not both"]),
        ("raise NetworkError(url, 'no answer')", ["no answer"]),
        ("raise Refusal(404, 'not here')", ["not here"]),
        ("warn(f'left {path}')", ["left …"]),
        ("self.fail(f'{value!r} is no size', param, ctx)", ["… is no size"]),
        ("def f():\n    problem = 'cut'\n    raise CorruptError(problem, path=path)", ["cut"]),
        ("def f():\n    kind = OneError if a else OtherError\n    raise kind('half a file')", ["half a file"]),
        ("def wrong(problem, at) -> SpillError: ...\nraise wrong('no seal', 8)", ["no seal"]),
        ("class Defect(NamedTuple):\n    at: int\n    problem: str\nyield Defect(8, 'no seal')", ["no seal"]),
        ("print('rows')", []),
    ],
)
def test_messages_are_found_in_source(source: str, texts: list[str]) -> None:
    assert sorted(site.text for site in sites_of({"m.py": ast.parse(source)})) == texts


def site(text: str) -> Site:
    return Site("m.py", 1, "ValueError", text, frozenset())


def test_the_law_can_be_broken() -> None:
    sites = [site("no … rows"), site("no rows")]

    assert unlisted(sites, [("m.py", "no rows")]) == ["m.py:1: no … rows"]
    assert unlisted(sites, [("other.py", "no rows")]) == ["m.py:1: no … rows", "m.py:1: no rows"]
    assert unlisted(sites, [("m.py", "no rows"), ("m.py", "no 3 rows")]) == []
    assert unfounded(sites, [("m.py", "no file"), ("m.py", "no 3 rows")]) == ["m.py: no file"]


def test_a_test_elsewhere_is_there_and_waits_for_the_words() -> None:
    source = source_of("tests/errors/test_law.py::test_messages_are_found_in_source")

    assert speaks(source, "… rows in …: none wanted")
    assert not speaks(source, "nobody says this")
    with pytest.raises(AssertionError, match="there is no test"):
        source_of("tests/errors/test_law.py::test_that_nobody_wrote")
