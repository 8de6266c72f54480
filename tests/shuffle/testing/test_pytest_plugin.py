"""The plugin in an installation of its own: built, installed without extras, found by pytest with nothing imported."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROJECT = "shuffle-merge"


def needed_by(*names: str) -> set[str]:
    """The distributions that these need, themselves included, without any extra."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        requirements = map(Requirement, metadata.requires(name) or ())
        waiting += [found.name for found in requirements if not found.marker or found.marker.evaluate({"extra": ""})]
    return needed


def link_distribution(name: str, site: Path) -> None:
    distribution = metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        (site / top).symlink_to(str(distribution.locate_file(top)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages: this project, built and installed, what it needs, and pytest; nothing else."""
    site, checkout = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for package in ("spill_format", "shuffle"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), str(checkout)], check=True)
    for name in needed_by(PROJECT, "pytest") - {PROJECT}:
        link_distribution(name, site)
    return site


def run_pytest(site: Path, directory: Path, test: str, *arguments: str) -> str:
    """The output of pytest on one test module, with the packages of ``site`` alone."""
    (directory / "test_it.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments]
    completed = subprocess.run(
        command, cwd=directory, env=environment(site), capture_output=True, text=True, check=False
    )
    return completed.stdout + completed.stderr


def environment(site: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**inherited, "PYTHONPATH": str(site), "COLUMNS": "200"}


def outcomes(output: str) -> dict[str, int]:
    """How many tests passed, failed and so on."""
    last = output.rstrip().rsplit("\n", 1)[-1]
    return {what.rstrip("s"): int(count) for count, what in re.findall(r"(\d+) (passed|failed|skipped|errors?)", last)}


def test_the_guides_are_installed_with_the_package(site: Path) -> None:
    installed = {path.name for path in (site / "shuffle" / "docs").glob("*.md")}

    assert installed == {path.name for path in (ROOT / "shuffle" / "docs").glob("*.md")}


def test_extras_are_not_there(site: Path) -> None:
    script = "import importlib.util as found; print([found.find_spec(n) for n in ('hypothesis', 'polars', 'aiohttp')])"
    completed = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment(site), capture_output=True, text=True, check=True
    )

    assert completed.stdout == "[None, None, None]\n"


def test_the_fixtures_are_there_without_an_import(site: Path, tmp_path: Path) -> None:
    output = run_pytest(site, tmp_path, "", "--fixtures")

    for fixture in ("spill_dir", "spill_factory", "reflink_dir"):
        assert re.search(rf"^{fixture} -- .*pytest_plugin\.py", output, re.MULTILINE), output


def test_who_does_not_use_it_waits_for_nothing(site: Path, tmp_path: Path) -> None:
    test = """
        import sys

        def test_that_uses_nothing():
            loaded = {name for name in sys.modules if name.startswith("shuffle")}
            assert loaded == {"shuffle", "shuffle.testing", "shuffle.testing.pytest_plugin"}
            assert not {"numpy", "pyarrow", "spill_format.errors", "hypothesis"} & set(sys.modules)
    """

    assert outcomes(run_pytest(site, tmp_path, test)) == {"passed": 1}


def test_what_it_offers_works(site: Path, tmp_path: Path) -> None:
    test = f"""
        import shuffle
        from shuffle import merge
        from shuffle.merging.copy.buffered import copy_with_buffer
        from shuffle.testing import assert_layout, assert_rows_conserved, conformance, layout_text

        def test_the_package_is_the_one_installed():
            assert shuffle.__file__.startswith({str(site)!r})

        def test_spills(spill_factory, spill_dir):
            first = spill_factory({{0: [{{"n": 1}}], 2: [{{"n": 2}}, {{"n": 3}}]}})
            second = spill_factory({{1: [{{"n": 4}}]}}, partition_count=3)
            named = spill_factory({{1: [{{"n": 5}}]}}, "named.arrow", partition_count=3, compression="zstd")
            assert [path.name for path in (first, second, named)] == [
                "spill-0.spill.arrow", "spill-1.spill.arrow", "named.arrow"
            ]
            assert first.parent == spill_dir
            merge([first, second, named], spill_dir / "merged.arrow")
            assert_layout(spill_dir / "merged.arrow", [1, 2, 2])
            assert_rows_conserved([first, second, named], spill_dir / "merged.arrow")
            assert layout_text(first).startswith("partitions 3, rows 3, batches 2")

        def test_conformance():
            for check in conformance(copy_with_buffer):
                check()
    """

    assert outcomes(run_pytest(site, tmp_path, test)) == {"passed": 3}


DAMAGE = """
    import pytest

    def damage(path):
        with path.open("r+b") as file:
            file.seek(700)
            file.write(b"\\xff")
"""


@pytest.mark.parametrize(
    "body",
    [
        'damage(spill_factory({0: {"n": range(100)}}))',
        'damage(spill_factory({0: {"n": range(100)}}, "deep.arrow"))',
        '(spill_dir / "cut.spill.arrow").write_bytes(spill_factory({0: {"n": [1]}}).read_bytes()[:-1])',
        '(spill_dir / "none.spill.arrow").touch()',
    ],
)
def test_a_damaged_file_that_a_test_leaves_is_an_error_at_its_end(site: Path, tmp_path: Path, body: str) -> None:
    test = textwrap.dedent(DAMAGE) + f"\ndef test_it(spill_factory, spill_dir):\n    {body}\n"

    output = run_pytest(site, tmp_path, test)

    assert outcomes(output) == {"passed": 1, "error": 1}
    assert re.search(r"ERROR at teardown of test_it.*Error: .*\.arrow", output, re.DOTALL), output


def test_a_damaged_file_that_is_removed_is_no_error(site: Path, tmp_path: Path) -> None:
    body = 'path = spill_factory({0: {"n": range(100)}})\n    damage(path)\n    path.unlink()'
    test = textwrap.dedent(DAMAGE) + f"\ndef test_it(spill_factory, spill_dir):\n    {body}\n"

    assert outcomes(run_pytest(site, tmp_path, test)) == {"passed": 1}


@pytest.mark.mount
def test_blocks_can_be_shared_in_the_directory_for_it(site: Path, tmp_path: Path) -> None:
    test = """
        import pathlib

        from shuffle import MergeOptions, merge
        from shuffle.testing import write_spill

        def test_blocks_are_shared(reflink_dir):
            pathlib.Path("mount").write_text(str(reflink_dir.parent))
            rows = {0: {"n": range(100_000)}}
            spills = [write_spill(rows, reflink_dir / f"{number}.spill.arrow", alignment=4096) for number in range(2)]
            report = merge(spills, reflink_dir / "merged.arrow", MergeOptions(method="clone"))
            assert report.methods["clone"].byte_count > 1_000_000

        def test_each_test_has_an_empty_directory(reflink_dir):
            assert list(reflink_dir.iterdir()) == []
    """

    assert outcomes(run_pytest(site, tmp_path, test)) == {"passed": 2}
    assert not Path((tmp_path / "mount").read_text()).exists()


@pytest.mark.root
def test_where_nothing_can_be_mounted_it_skips_with_the_reason(site: Path, tmp_path: Path) -> None:
    test = """
        import os
        import shuffle.testing.file_systems  # now: what may read the checkout is root's
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def nobody():
            os.seteuid(65534)
            yield
            os.seteuid(0)

        def test_it(reflink_dir):
            pass
    """

    output = run_pytest(site, tmp_path, test, "-rs")

    assert outcomes(output) == {"skipped": 1}
    assert "mounting needs root" in output
