"""``shuffle verify``: a verdict for each file."""

import json
from pathlib import Path

from spill_format import SpillFile
from tests.helpers.commands import run, succeeded


def test_a_sound_file_is_ok(tmp_path: Path, spills: list[Path]) -> None:
    lines = succeeded("shuffle verify spills", tmp_path).splitlines()
    assert [line.partition(": ")[2].startswith("ok (3 partitions, ") for line in lines] == [True] * 3
    assert succeeded("shuffle verify spills --quiet", tmp_path) == ""


def test_damaged_partitions_are_named_and_the_rest_is_checked(tmp_path: Path, spills: list[Path]) -> None:
    with SpillFile(spills[0]) as spill:
        offset = int(spill.layout.offsets[2])
    content = bytearray(spills[0].read_bytes())
    content[offset + 300] ^= 1
    spills[0].write_bytes(content)
    completed = run("shuffle verify spills --quiet", tmp_path)
    assert completed.returncode == 1
    (line,) = completed.stdout.splitlines()
    assert line.startswith(f"spills/{spills[0].name}: damaged: 1 of 3 partitions (2), sound: 0-1; ")
    assert f"partition 2, offset {offset}: CRC-32C" in line
    assert completed.stderr == "shuffle: error: 1 of 3 files damaged\n"
    verdicts = json.loads(run("shuffle verify spills --json", tmp_path).stdout)["files"]
    assert [verdict["state"] for verdict in verdicts] == ["damaged", "ok", "ok"]
    assert verdicts[0]["damaged_partitions"] == [2]


def test_a_cut_file_says_which_partitions_are_sound_all_the_same(tmp_path: Path, spills: list[Path]) -> None:
    with SpillFile(spills[1]) as spill:
        offset = int(spill.layout.offsets[1])
    spills[1].write_bytes(spills[1].read_bytes()[: offset + 8])
    completed = run("shuffle verify spills", tmp_path)
    assert completed.returncode == 1
    line = completed.stdout.splitlines()[1]
    assert "the file is cut off or was never finished" in line
    assert line.endswith("; 3 of 3 partitions lost rows or may have (0-2); sound: none")


def test_fast_checks_structure_alone(tmp_path: Path, spills: list[Path]) -> None:
    with SpillFile(spills[0]) as spill:
        offset = int(spill.layout.offsets[2])
    content = bytearray(spills[0].read_bytes())
    content[offset + 300] ^= 1
    spills[0].write_bytes(content)
    assert succeeded("shuffle verify spills --fast", tmp_path).count(", structure only, ") == 3
    spills[0].write_bytes(content[:-1])
    completed = run("shuffle verify spills --fast --quiet", tmp_path)
    assert completed.returncode == 1
    assert "cut off" in completed.stdout


def test_what_could_not_be_checked_outweighs_damage(tmp_path: Path, spills: list[Path]) -> None:
    spills[0].write_bytes(spills[0].read_bytes()[:-3])
    completed = run("shuffle verify spills gone.arrow", tmp_path)
    assert completed.returncode == 2
    assert "gone.arrow: No such file or directory" in completed.stderr
