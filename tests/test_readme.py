"""What the README shows works as it stands there."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.helpers.spills import random_spill, random_spills
from tests.test_docs import blocks_of, prompted

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
HOME = PROJECT["urls"]["Homepage"]
README = Path(__file__).parent.parent / "README.md"
BLOCKS = list(blocks_of(README))
TOOLS, COMMANDS = ([*prompted(block.code)] for block in BLOCKS if block.language == "console")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the files that the README's commands name."""
    for name in ("events", "spills", "outputs", "sales/year=2024"):
        (tmp_path / name).mkdir(parents=True)
    pa.parquet.write_table(pa.table({"user_id": range(100)}), tmp_path / "events" / "1.parquet")
    sales = pa.table({"id": range(100), "price": range(100)})
    pa.parquet.write_table(sales, tmp_path / "sales" / "year=2024" / "1.parquet")
    random_spills(tmp_path / "spills", [10] * 8, [20] * 8)
    damaged = random_spill(tmp_path / "damaged.arrow", [10, 20])
    os.truncate(damaged, damaged.stat().st_size - 100)
    for name in ("before.arrow", "after.arrow", "outputs/merged.arrow"):
        shutil.copy(tmp_path / "spills" / "spill-0.spill.arrow", tmp_path / name)
    return tmp_path


@pytest.fixture
def port() -> int:
    """One that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
    return found


def test_every_block_is_of_a_kind_that_is_run() -> None:
    fences = len(re.findall(r"^ *```", README.read_text(), re.MULTILINE))

    assert [block.language for block in BLOCKS] == ["text", "python", "text", "console", "console"]
    assert fences == 2 * len(BLOCKS)


def test_the_example_prints_what_is_shown(tmp_path: Path) -> None:
    _, example, output = (block.code for block in BLOCKS if block.language != "console")
    completed = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == output


def test_the_commands_run_one_after_the_other(directory: Path, port: int) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}

    with ExitStack() as stack:
        for line in COMMANDS:
            command = ["bash", "-c", f"exec {line.removesuffix('&').replace('8080', str(port))}"]
            if line.endswith("&"):
                server = stack.enter_context(
                    subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE)
                )
                stack.callback(server.kill)
                assert server.stdout is not None
                assert server.stdout.readline() == f"http://127.0.0.1:{port}/\n".encode()
                continue
            completed = subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert completed.returncode == 0, (line, completed.stderr)

    made = ["events.arrow", "2024.arrow", "merged.arrow", "sizes.html", "repaired.arrow", "some.parquet", "some.arrows"]
    assert [name for name in made if not (directory / name).exists()] == []


@pytest.mark.parametrize("line", TOOLS)
def test_the_tools_that_it_names_are_there(line: str) -> None:
    assert os.access(README.parent / line.split(maxsplit=1)[0], os.X_OK)


def test_every_file_that_it_links_to_exists() -> None:
    """By absolute links, since the page is shown elsewhere, too."""
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    files = [link.removeprefix(f"{HOME}/blob/main/") for link in links]
    assert files
    assert [file for file in files if "://" in file or not (README.parent / file).exists()] == []
