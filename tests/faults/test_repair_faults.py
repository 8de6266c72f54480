"""Repair when the machine fails: full disks, unwritable places, kills, and files that change meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle.inspecting.repair import repair
from spill_format.errors import ChecksumError, TruncatedError
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import random_spill


def test_a_full_disk_leaves_nothing_and_names_the_target(small_ext4_dir: Path, tmp_path: Path) -> None:
    path = random_spill(tmp_path / "large.arrow", [200_000, 0, 300_000])
    (tmp_path / "cut.arrow").write_bytes(path.read_bytes()[:-1])
    before = sorted(os.listdir(small_ext4_dir))
    with pytest.raises(OSError, match="No space left") as caught:
        repair(tmp_path / "cut.arrow", small_ext4_dir / "repaired.arrow")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(small_ext4_dir / "repaired.arrow")
    assert sorted(os.listdir(small_ext4_dir)) == before


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.arrow", [3])
    with pytest.raises(FileNotFoundError) as caught:
        repair(tmp_path / "a.arrow", tmp_path / "gone" / "repaired.arrow")
    assert caught.value.filename == str(tmp_path / "gone")


def flip_last_body(path: Path) -> None:
    offset = Anatomy.of(path).marker - 8
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"changed!")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (flip_last_body, ChecksumError, "the record batch changed while the file was repaired; repair a copy"),
        (lambda path: os.truncate(path, 700), TruncatedError, "the file ends too early"),
    ],
)
def test_a_file_that_changes_between_looking_and_writing_is_noticed(
    tmp_path: Path, change: Callable[[Path], None], error: type[Exception], said: str
) -> None:
    path = random_spill(tmp_path / "a.arrow", [3, 0, 5])
    anatomy = Anatomy.of(path)
    ranges_bytes = anatomy.marker - anatomy.offsets[0]
    looked = 0
    changed = False

    def progress(count: int) -> None:
        nonlocal looked, changed
        looked += count
        if looked >= ranges_bytes and not changed:
            changed = True
            change(path)

    with pytest.raises(error, match=said):
        repair(path, tmp_path / "repaired.arrow", progress=progress)
    assert os.listdir(tmp_path) == ["a.arrow"]


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.arrow", [50_000, 0, 50_000])
    script = (
        "import os, signal, sys\n"
        "from shuffle.inspecting.repair import repair\n"
        "looked = 0\n"
        "def progress(count):\n"
        "    global looked\n"
        "    looked += count\n"
        f"    if looked > 1.5 * {os.path.getsize(tmp_path / 'a.arrow')}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "repair('a.arrow', 'repaired.arrow', progress=progress)\n"
    )
    completed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert completed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["a.arrow"]
