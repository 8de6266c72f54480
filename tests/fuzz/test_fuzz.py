"""What strangers may send: the corpus is replayed, and for some seconds fuzzing goes on from it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.targets import CORPUS, TARGETS, ExcessiveMemoryError, corpus_of, run

SECONDS = 16
"""Of fuzzing, for all targets together; ``tools/campaign --fuzz`` takes longer."""


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_was_found_is_answered_as_documented(name: str) -> None:
    inputs = sorted(corpus_of(name).iterdir())
    assert inputs
    for path in inputs:
        try:
            run(name, path.read_bytes())
        except Exception as error:
            error.add_note(str(path))
            raise


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 2 << 20


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.mkdir()
    # A busy machine may stop a process for seconds: -timeout is that of a call that never ends.
    options = [
        "-seed=1",
        "-timeout=30",
        f"-max_total_time={max(1, round(SECONDS / len(TARGETS)))}",
        f"-artifact_prefix={tmp_path}/input-",
    ]
    command = [sys.executable, "-m", "tests.fuzz", name, str(found), str(corpus_of(name)), *options]
    fuzzed = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    inputs = [f"{path}: {path.read_bytes()!r}" for path in tmp_path.glob("input-*")]
    assert fuzzed.returncode == 0, "\n".join([fuzzed.stderr[-5000:], *inputs])


def test_a_few_bytes_that_take_much_memory_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MEMORY_BYTES", 16 << 20)
    # More than malloc ever keeps of what was freed before, so that it must be new.
    monkeypatch.setitem(TARGETS, "greedy", lambda _data, _directory: len(b"x" * (256 << 20)))
    with pytest.raises(ExcessiveMemoryError):
        run("greedy", b"")
