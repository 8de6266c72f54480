"""What is released: complete archives that any tool accepts, installed elsewhere, typed, and described as it is."""

import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import shuffle
import spill_format

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*arguments: object, directory: Path = ROOT) -> str:
    completed = subprocess.run(list(map(str, arguments)), cwd=directory, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def tracked(*folders: str) -> set[str]:
    return set(run("git", "ls-files", *folders).splitlines())


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built from it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, ".")
    (source,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return source, wheel


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_the_source_distribution_has_every_file_of_the_checkout(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert tracked() - names <= {".gitignore"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_the_wheel_has_the_packages_and_nothing_else(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    compiled = {f"shuffle/native/_{name}.abi3.so" for name in ("gather", "reading")}
    assert names == {*tracked("shuffle", "spill_format"), *compiled}
    assert "-cp311-abi3-" in archives[1].name  # one for all versions of Python


def test_an_index_accepts_both(archives: tuple[Path, Path]) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *archives)


@pytest.fixture(scope="module")
def elsewhere(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and the dependencies of this one."""
    directory = tmp_path_factory.mktemp("elsewhere")
    venv.create(directory / "venv")
    python = directory / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", archives[1])
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A path alone does not bring the editable installations that it has.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_wheel_works_where_there_is_no_checkout(elsewhere: Path, tmp_path: Path) -> None:
    script = "import shuffle, json; print(json.dumps([shuffle.__version__, shuffle.__file__]))"
    version, place = json.loads(run(elsewhere, "-c", script, directory=tmp_path))

    assert version == PROJECT["version"]
    assert place.startswith(str(elsewhere.parents[1]))
    make = "from shuffle.testing import write_spill; write_spill({0: [{'n': 1}]}, 'a.spill.arrow')"
    run(elsewhere, "-c", make, directory=tmp_path)
    run(elsewhere.with_name("shuffle-merge"), "a.spill.arrow", "-o", "b.arrow", directory=tmp_path)
    assert "1 in 1 batch" in run(elsewhere.with_name("shuffle"), "inspect", "b.arrow", directory=tmp_path)


def test_the_lock_has_a_version_of_all_that_tests_need() -> None:
    locked = {line.partition("==")[0].lower() for line in (ROOT / "tests" / "requirements.lock").read_text().split()}
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    names = {re.split(r"[<>=~;\[ ]", requirement)[0].lower() for requirement in needed}

    assert {name for name in names if name not in locked and name.replace("_", "-") not in locked} == set()


def test_both_packages_tell_the_version() -> None:
    assert shuffle.__version__ == spill_format.__version__ == PROJECT["version"]


def test_the_reference_is_current() -> None:
    loader = importlib.machinery.SourceFileLoader("api", str(ROOT / "tools" / "api"))
    specification = importlib.util.spec_from_loader("api", loader)
    assert specification is not None
    api = importlib.util.module_from_spec(specification)
    loader.exec_module(api)

    assert (ROOT / "shuffle" / "docs" / "api.md").read_text() == api.reference(), "run tools/api"


@pytest.mark.parametrize("package", ["shuffle", "spill_format"])
def test_every_public_name_has_a_type(package: str, elsewhere: Path) -> None:
    path = os.pathsep.join([str(elsewhere.parent), os.environ["PATH"]])  # by which pyright finds an environment
    completed = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson"],
        cwd=elsewhere.parent,
        env={**os.environ, "PATH": path, "VIRTUAL_ENV": str(elsewhere.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(completed.stdout)["typeCompleteness"]

    assert report["symbols"], completed.stdout
    unknown = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert unknown == []
