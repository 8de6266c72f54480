"""The law of messages: a test waits for each message of the source. Any test will do, in a table here or elsewhere."""

import ast

import pytest

from tests.errors.messages import Site, all_sites, is_said, makes_spill_errors, sites_of, words_of_tests

UNSAID = {
    "the sources' ranges changed while they were merged": "needs a range that heals while it is looked at again",
    "the file takes no further bytes and gives no error": "needs a kernel whose writev answers 0: none was met",
    "no column … to write; … columns have this name": "Arrow reads no inputs with two columns of a name",
    "too many files are open; try again later": "a client waits for this answer and never says it",
    "too many answers are being sent; try again later": "a client waits for this answer and never says it",
    "the file was replaced before it was sent": "ends the connection, which carries no words then",
    "the file was written while it was being sent": "ends the connection, which carries no words then",
    "the file was cut while it was being sent": "ends the connection, which carries no words then",
    "sendfile answered an impossible count": "ends the connection, which carries no words then",
    "the server sent … instead of …": "the client asks for the range alone, which succeeds or says more",
}
"""Messages that no test can wait for, and why."""


@pytest.fixture(scope="module")
def sites() -> list[Site]:
    return all_sites()


def test_a_test_waits_for_each_message(sites: list[Site]) -> None:
    words = words_of_tests()
    unsaid = {site.text: f"{site.module}:{site.line}" for site in sites if not is_said(site.text, words)}

    assert unsaid == {}, "write a test that provokes each, and waits for three words of it"


def test_what_no_test_waits_for_is_in_the_source(sites: list[Site]) -> None:
    assert UNSAID.keys() <= {site.text for site in sites}


def test_every_error_about_a_file_names_it(sites: list[Site]) -> None:
    assert [site for site in sites if makes_spill_errors(site) and "path" not in site.keywords] == []


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


def test_the_law_can_be_broken() -> None:
    assert is_said("… rows in …: none wanted", "raises, match=none wanted")
    assert is_said("there are no files to read", "says that there are no files")
    assert not is_said("there are no files to read", "there are files, no files, to write")
