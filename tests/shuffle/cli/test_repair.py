"""``shuffle repair``: what comes back, what is said of the rest, and how it ends."""

import json
from pathlib import Path

import pytest

from spill_format import SpillFile
from tests.helpers.commands import error_of, run, succeeded


@pytest.fixture
def spill(tmp_path: Path, spills: list[Path]) -> Path:
    path = tmp_path / "a.arrow"
    spills[0].rename(path)
    return path


def test_a_file_that_lost_only_its_tail_comes_back_whole(tmp_path: Path, spill: Path) -> None:
    sound = spill.read_bytes()
    spill.write_bytes(sound[:-20])
    completed = run("shuffle repair a.arrow -o b.arrow", tmp_path)
    assert (completed.returncode, completed.stdout) == (0, "")
    (line,) = completed.stderr.splitlines()
    assert line.startswith("b.arrow: recovered 530 rows in 2 batches, ")
    assert line.endswith("; made anew: footer")
    assert (tmp_path / "b.arrow").read_bytes() == sound
    assert succeeded("shuffle verify b.arrow --quiet", tmp_path) == ""


def test_what_is_lost_is_said_and_the_rest_is_written(tmp_path: Path, spill: Path) -> None:
    with SpillFile(spill) as file:
        offset = int(file.layout.offsets[2])
    content = bytearray(spill.read_bytes())
    content[offset + 400] ^= 1
    spill.write_bytes(content)
    completed = run("shuffle repair a.arrow -o b.arrow --quiet", tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.splitlines() == ["shuffle: warning: a.arrow: partition 2 lost 500 rows in 1 batch"]
    assert spill.read_bytes() == bytes(content)

    completed = run("shuffle repair a.arrow -o b.arrow --overwrite --quiet --json", tmp_path)
    report = json.loads(completed.stdout)
    assert completed.returncode == 1
    (file,) = report["files"]
    assert file["losses"] == [{"first_partition": 2, "last_partition": 2, "row_count": 500, "batch_count": 1}]
    assert (file["recovered_row_count"], report["is_complete"]) == (30, False)
    assert file["damaged_places"][0]["start"] == offset


def test_a_cut_file_says_that_more_may_be_lost(tmp_path: Path, spill: Path) -> None:
    with SpillFile(spill) as file:
        offset = int(file.layout.offsets[2])
    spill.write_bytes(spill.read_bytes()[:offset])
    completed = run("shuffle repair a.arrow -o b.arrow", tmp_path)
    assert completed.returncode == 1
    assert "a.arrow: partitions 0 to 2 may have lost rows" in completed.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("a.arrow", "--output"),
        ("a.arrow -o a.arrow --overwrite", "never repaired in place"),
        ("a.arrow -o taken.arrow", "already exists"),
        ("gone.arrow -o b.arrow", "gone.arrow: No such file or directory"),
        ("words.arrow -o b.arrow", "nothing can be recovered"),
        ("a.arrow -o gone/b.arrow", "No such file or directory"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(tmp_path: Path, spill: Path, arguments: str, words: str) -> None:
    (tmp_path / "taken.arrow").write_text("precious")
    (tmp_path / "words.arrow").write_text("no Arrow file at all")
    sound = spill.read_bytes()
    assert words in error_of(run(f"shuffle repair {arguments}", tmp_path))
    assert (spill.read_bytes(), (tmp_path / "taken.arrow").read_text()) == (sound, "precious")
    assert not (tmp_path / "b.arrow").exists()
