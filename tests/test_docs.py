"""The guides say what is so: every code block runs as it stands there, and every link leads somewhere.

A page is run from top to bottom in one fresh directory, each block by itself: Python as a script, or by pytest where it
defines tests; of a console block the lines that follow a prompt. Other fences are for the reader alone.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "shuffle" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 60  # for a block

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


class Block(NamedTuple):
    """A fenced block: the line of the page on which its code starts, and the code."""

    line: int
    language: str
    code: str

    def command(self, directory: Path) -> list[str] | None:
        """What runs it; None where it is not to be run."""
        if self.language == "python":
            script = directory / f"test_block_{self.line}.py"
            script.write_text(self.code)
            has_tests = re.search(r"^(async )?def test_", self.code, re.MULTILINE)
            return [sys.executable, *(["-m", "pytest", "-p", "no:cacheprovider"] if has_tests else []), str(script)]
        if self.language == "console":
            return ["bash", "-euo", "pipefail", "-c", "\n".join(prompted(self.code))]
        return None


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield Block(text.count("\n", 0, found.start("code")) + 1, found["language"], found["code"])


def prompted(code: str) -> Iterator[str]:
    """The commands of a console block, with the lines that they go on in."""
    goes_on = False
    for line in code.splitlines():
        if goes_on or line.startswith("$ "):
            yield line if goes_on else line.removeprefix("$ ")
            goes_on = line.endswith("\\")


def run_page(page: Path, directory: Path) -> int:
    """Run the blocks of a page; how many there were. Fails at the first that does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    count = 0
    for block in blocks_of(page):
        command = block.command(directory)
        if command is None:
            continue
        completed = subprocess.run(
            command,
            cwd=directory,
            env={**inherited, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if completed.returncode != 0:
            raise AssertionError(f"{page.name}:{block.line}: exit code {completed.returncode}\n{completed.stdout}")
        count += 1
    return count


@pytest.mark.timeout(600)
@each_page
def test_every_code_block_runs(page: Path, tmp_path: Path) -> None:
    fences = len(re.findall(r"^ *```(python|console)\b", page.read_text(), re.MULTILINE))

    assert run_page(page, tmp_path) == fences


@each_page
def test_no_command_stands_in_a_block_that_is_not_run(page: Path) -> None:
    others = re.sub(BLOCK, "", page.read_text())

    assert re.findall(r"^\$ .*", others, re.MULTILINE) == []


@each_page
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_there_are_pages_with_code() -> None:
    assert any(block.language == "python" for page in PAGES for block in blocks_of(page))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Text.\n\n```python\nassert False, 'no'\n```\n", r"page\.md:4: exit code 1\n(.*\n)*AssertionError: no"),
        ("```python\ndef test_it():\n    assert False\n```\n", r"page\.md:2: exit code 1\n(.*\n)*.*1 failed"),
        ("```python\ndef test_it(no_such_fixture): ...\n```\n", r"page\.md:2: exit code 1\n(.*\n)*.*no_such_fixture"),
        ("```console\n$ true\n$ false\n```\n", r"page\.md:2: exit code 1"),
        ("```console\n$ false\n$ true\n```\n", r"page\.md:2: exit code 1"),
        ("```console\n$ false | cat\n```\n", r"page\.md:2: exit code 1"),
        ("```console\n$ no-such-command\n```\n", r"page\.md:2: exit code 127\n.*no-such-command: command not found"),
    ],
)
def test_a_block_that_fails_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)

    with pytest.raises(AssertionError, match=message):
        run_page(page, tmp_path)


def test_blocks_of_a_page_share_a_directory_and_output_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nopen('made', 'w').close()\n```\n\n"
        "```console\n$ ls \\\n    made\nmade\nrm made\n$ shuffle --version > /dev/null\n```\n\n"
        "```text\nnot run\n```\n\n```\nnot run\n```\n"
    )

    assert run_page(page, tmp_path) == 2
    assert (tmp_path / "made").exists()
