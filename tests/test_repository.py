"""Laws of the repository itself: what its files promise about each other."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import grimp
import importlinter.configuration
import pytest

from tools.purity import PureContract, pure_modules

ROOT = Path(__file__).parents[1]
PACKAGES = ("spill_format", "shuffle")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MAXIMUM_FILE_LINES = 400
LONGER_FILES: dict[str, str] = {}  # path → why it is one thing
MAXIMUM_FUNCTION_LINES = 60
LONGER_FUNCTIONS: dict[str, str] = {}  # path:name → why it is one thing


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tools() -> list[Path]:
    return sorted(path for path in (ROOT / "tools").rglob("*") if path.is_file() and os.access(path, os.X_OK))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_version_is_the_one_that_the_changelog_begins_with() -> None:
    headings: list[str] = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == PROJECT["project"]["version"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_tells_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]


def test_a_module_that_calls_itself_pure_is_held_to_it() -> None:
    claiming = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in python_files(*PACKAGES)
        if re.search(r"\b(Pure|PURE)\b", ast.get_docstring(ast.parse(path.read_text())) or "")
    }

    assert sorted(claiming - set(pure_modules(*PACKAGES))) == [], 'each needs a line "# PURE"'


def test_a_pure_module_that_imports_os_breaks_its_contract() -> None:
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, exclude_type_checking_imports=True)
    settings = PROJECT["tool"]["importlinter"]
    (options,) = [each for each in settings["contracts"] if each["type"] == "pure"]
    contract = PureContract("pure", settings, options)

    importlinter.configuration.configure()

    assert contract.check(deepcopy(graph), verbose=False).kept
    graph.add_import(importer=pure_modules(*PACKAGES)[0], imported="os")
    assert not contract.check(graph, verbose=False).kept


def test_files_stay_short() -> None:
    lines = {relative(path): len(path.read_text().splitlines()) for path in python_files(*PACKAGES, "tests", "tools")}

    assert {path: count for path, count in lines.items() if count > MAXIMUM_FILE_LINES} == {
        path: lines[path] for path in LONGER_FILES
    }


def long_functions() -> Iterator[str]:
    for path in python_files(*PACKAGES, "tests", "tools"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                line_count = (node.end_lineno or node.lineno) - node.lineno + 1
                if line_count > MAXIMUM_FUNCTION_LINES:
                    yield f"{relative(path)}:{node.name}"


def test_functions_stay_short() -> None:
    assert set(long_functions()) == set(LONGER_FUNCTIONS)


@pytest.mark.parametrize("tool", tools(), ids=relative)
def test_a_tool_explains_itself(tool: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    completed = subprocess.run(
        [tool, "--help"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.lower().startswith("usage:")
    assert list(tmp_path.iterdir()) == []
