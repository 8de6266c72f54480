"""``shuffle inspect``: sizes for people and programs, and damage beside what is sound."""

import contextlib
import csv
import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import command_line, environment_with, json_of, run, succeeded
from tests.helpers.spills import random_spill


def table_of(lines: list[str]) -> list[str]:
    """The lines of the table of partitions, without its heading."""
    return lines[next(number for number, line in enumerate(lines) if line.startswith("partition ")) + 1 :]


def test_partitions_are_listed_with_their_sizes(tmp_path: Path, spills: list[Path]) -> None:
    lines = succeeded("shuffle inspect spills/spill-0.spill.arrow", tmp_path).splitlines()
    table = [line.split() for line in table_of(lines)]
    assert [(row[0], row[1]) for row in table] == [("0", "30"), ("1", "0"), ("2", "500")]
    assert any(line.startswith("partitions    3, of which 1 empty (1)") for line in lines)


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
    random_spill(tmp_path / "a.spill.arrow", [10 * number for number in range(50)])
    lines = succeeded(f"shuffle inspect a.spill.arrow {flags}", tmp_path).splitlines()
    table = table_of(lines)
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


def test_csv_has_a_line_for_each_partition_of_each_file(tmp_path: Path, spills: list[Path]) -> None:
    lines = list(csv.DictReader(io.StringIO(succeeded("shuffle inspect spills --csv", tmp_path))))
    first = [line for line in lines if line["path"] == "spills/spill-0.spill.arrow"]
    assert [(line["partition"], line["row_count"]) for line in first] == [("0", "30"), ("1", "0"), ("2", "500")]
    assert len(lines) == 9
    largest = succeeded("shuffle inspect spills --csv --sort size --top 1", tmp_path).splitlines()[1:]
    assert [line.split(",")[1:3] for line in largest] == [["2", "500"], ["1", "20"], ["2", "7"]]


def test_a_line_of_bars_shows_what_is_empty_and_what_is_largest(tmp_path: Path, spills: list[Path]) -> None:
    lines = succeeded("shuffle inspect spills/spill-0.spill.arrow", tmp_path).splitlines()
    (bars,) = [line for line in lines if line.startswith("|")]
    assert (bars[2], bars[3]) == (" ", "█")


def test_small_ranges_and_skew_are_told_with_what_to_do(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [100] * 999 + [50_000])
    printed = succeeded("shuffle inspect a.spill.arrow", tmp_path)
    assert "skew: 1 partition of 5 times the median or more (999) has" in printed
    assert "partition by a further column" in printed
    assert "small ranges: 1,000 of " in printed
    assert "for these bytes 1 partition would do" in printed
    skewed = json_of("shuffle inspect a.spill.arrow --json --top 0", tmp_path)["files"][0]
    assert skewed["skewed_partitions"] == [999]
    assert 0 < skewed["gini"] < 1


@pytest.mark.parametrize(
    ("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals(tmp_path: Path, environment: dict[str, str], is_coloured: bool) -> None:
    random_spill(tmp_path / "a.spill.arrow", [100] * 9 + [50_000])
    assert "\x1b" not in succeeded("shuffle inspect a.spill.arrow", tmp_path)
    reader, terminal = pty.openpty()
    words = command_line("shuffle inspect a.spill.arrow")
    variables = environment_with(**{"TERM": "xterm", **environment})
    variables = {name: value for name, value in variables.items() if name != "NO_COLOR" or "NO_COLOR" in environment}
    subprocess.run(words, cwd=tmp_path, env=variables, stdout=terminal, check=True)
    os.close(terminal)
    printed = b""
    with contextlib.suppress(OSError):  # how the end of a terminal is told
        while piece := os.read(reader, 1 << 16):
            printed += piece
    os.close(reader)
    assert (b"\x1b[33m" in printed) == is_coloured


def test_files_of_different_partition_counts_stand_side_by_side(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [1, 2])
    random_spill(tmp_path / "b.spill.arrow", [1, 2, 3])
    assert "different numbers of partitions" in succeeded("shuffle inspect .", tmp_path)
