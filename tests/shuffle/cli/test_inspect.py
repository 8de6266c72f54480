"""``shuffle inspect``: sizes for people and programs, and damage beside what is sound."""

import json
from pathlib import Path

import pytest

from tests.shuffle.cli.commands import json_of, run, succeeded
from tests.spills import write_spill


def test_partitions_are_listed_with_their_sizes(tmp_path: Path, spills: list[Path]) -> None:
    lines = succeeded("shuffle inspect spills/spill-0.spill.arrow", tmp_path).splitlines()
    table = [line.split() for line in lines[lines.index("") + 2 :]]
    assert [(row[0], row[1]) for row in table] == [("0", "30"), ("1", "0"), ("2", "500")]
    assert any(line.startswith("partitions  3, of which 1 empty") for line in lines)


def test_json_has_every_partition(tmp_path: Path, spills: list[Path]) -> None:
    inspection = json_of("shuffle inspect spills --json", tmp_path)
    assert [file["path"] for file in inspection["files"]] == [f"spills/{path.name}" for path in spills]
    assert [p["row_count"] for p in inspection["files"][0]["partitions"]] == [30, 0, 500]
    assert inspection["together"]["row_count"] == 567


@pytest.mark.parametrize(
    ("flags", "first", "count"),
    [("", "49", 20), ("--top 3", "49", 3), ("--sort partition", "0", 20), ("--top 50", "0", 50)],
)
def test_many_partitions_do_not_flood_a_terminal(tmp_path: Path, flags: str, first: str, count: int) -> None:
    write_spill(tmp_path / "a.spill.arrow", [10 * number for number in range(50)])
    lines = succeeded(f"shuffle inspect a.spill.arrow {flags}", tmp_path).splitlines()
    table = lines[lines.index("") + 2 :]
    if count < 50:
        assert table.pop().startswith(f"… and {50 - count} further partitions, together ")
    assert len(table) == count
    assert table[0].split()[0] == first


def test_damage_is_told_beside_what_is_sound(tmp_path: Path, spills: list[Path]) -> None:
    spills[1].write_bytes(spills[1].read_bytes()[:-3])
    completed = run("shuffle inspect spills", tmp_path)
    assert completed.returncode == 1
    (line,) = completed.stderr.splitlines()
    assert line.startswith(f"shuffle: error: damaged: spills/{spills[1].name}, offset ")
    assert "2 files together" in completed.stdout
    states = {
        file["path"]: file["state"]
        for file in json.loads(run("shuffle inspect spills --json", tmp_path).stdout)["files"]
    }
    assert states[f"spills/{spills[1].name}"] == "damaged"


def test_files_of_different_partition_counts_stand_side_by_side(tmp_path: Path) -> None:
    write_spill(tmp_path / "a.spill.arrow", [1, 2])
    write_spill(tmp_path / "b.spill.arrow", [1, 2, 3])
    assert "different numbers of partitions" in succeeded("shuffle inspect .", tmp_path)
