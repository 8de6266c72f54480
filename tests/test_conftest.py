"""The switch that forbids skipping, tried on small test modules of every way to skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WAYS_TO_SKIP = {
    "call": "def test_it(): pytest.skip('the reason')",
    "mark": "@pytest.mark.skip(reason='the reason')\ndef test_it(): pass",
    "condition": "@pytest.mark.skipif(True, reason='the reason')\ndef test_it(): pass",
    "fixture": "@pytest.fixture\ndef absent(): pytest.skip('the reason')\n\ndef test_it(absent): pass",
    "expected_failure": "@pytest.mark.xfail(reason='the reason')\ndef test_it(): assert False",
    "module": "pytest.skip('the reason', allow_module_level=True)",
    "import": "pytest.importorskip('no_such_module', reason='the reason')",
}


def run_pytest(directory: Path, require_all: str) -> subprocess.CompletedProcess[str]:
    arguments = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", os.devnull, "--continue-on-collection-errors"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(directory)],
        cwd=ROOT,
        env={**os.environ, "SHUFFLE_TESTS_REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def skipping_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("skipping")
    for way, source in WAYS_TO_SKIP.items():
        (directory / f"test_{way}.py").write_text(f"import pytest\n\n{source}\n")
    (directory / "test_passing.py").write_text("def test_it(): pass\n")
    return directory


@pytest.fixture(scope="module")
def forbidding_run(skipping_tests: Path) -> subprocess.CompletedProcess[str]:
    return run_pytest(skipping_tests, "1")


@pytest.mark.parametrize("way", WAYS_TO_SKIP)
def test_a_skip_is_a_failure_that_tells_its_reason(way: str, forbidding_run: subprocess.CompletedProcess[str]) -> None:
    told = [line for line in forbidding_run.stdout.splitlines() if "the reason (SHUFFLE_TESTS_REQUIRE_ALL" in line]

    assert any(f"test_{way}.py" in line for line in told), forbidding_run.stdout


def test_a_test_that_passes_may_pass(forbidding_run: subprocess.CompletedProcess[str]) -> None:
    assert forbidding_run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in forbidding_run.stdout


def test_skips_are_no_failures_without_the_switch(skipping_tests: Path) -> None:
    allowing_run = run_pytest(skipping_tests, "0")

    assert allowing_run.returncode == pytest.ExitCode.OK, allowing_run.stdout
    assert "1 passed, 6 skipped, 1 xfailed" in allowing_run.stdout
