"""What Arrow files must agree in to become one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from shuffle import merge, read_partition, repair
from spill_format import MismatchError, SpillFile
from tests.helpers.anatomy import Anatomy
from tests.helpers.kept_spills import kept_spills, said_of
from tests.helpers.spills import random_spill

each_choice = pytest.mark.parametrize("given", [[0], [1, 2], [0, 1, 2], [0, 1, 1], [2, 0, 1]])


def refused_unless_whole(given: list[int]) -> ExitStack:
    stack = ExitStack()
    if set(given) != {0, 1, 2}:
        stack.enter_context(pytest.raises(MismatchError, match=said_of(given)))
    return stack


@each_choice
def test_spills_of_a_map_task_are_merged_together_or_not_at_all(tmp_path: Path, given: list[int]) -> None:
    spills = kept_spills(tmp_path)
    alone = random_spill(tmp_path / "alone.spill.arrow", [3, 0, 50])
    with refused_unless_whole(given):
        merge([alone, *(spills[number] for number in given)], tmp_path / "merged.arrow")


@each_choice
def test_spills_of_a_map_task_are_read_together_or_not_to_the_end(tmp_path: Path, given: list[int]) -> None:
    spills = kept_spills(tmp_path)
    with refused_unless_whole(given):
        assert read_partition([spills[number] for number in given], 2).read_all().num_rows == 150


def test_a_damaged_spill_may_be_left_out_and_no_other(tmp_path: Path) -> None:
    spills = kept_spills(tmp_path)
    with spills[1].open("r+b") as file:
        file.truncate(1000)
    report = merge(spills, tmp_path / "merged.arrow", skip_damaged=True)
    assert (report.source_count, len(report.skipped)) == (2, 1)
    with pytest.raises(MismatchError, match=said_of([0])):
        merge(spills[:2], tmp_path / "other.arrow", skip_damaged=True)


@pytest.mark.parametrize("part", ["range", "footer"])
def test_a_repaired_spill_takes_the_place_of_the_damaged_one(tmp_path: Path, part: str) -> None:
    spills = kept_spills(tmp_path)
    anatomy = Anatomy.of(spills[1])
    content = bytearray(anatomy.raw)
    content[anatomy.footer + 8 if part == "footer" else anatomy.offsets[0] + 8] ^= 1
    spills[1].write_bytes(content)
    repair(spills[1], tmp_path / "repaired.arrow")
    report = merge([spills[0], tmp_path / "repaired.arrow", spills[2]], tmp_path / "merged.arrow")
    assert report.row_count == (159 if part == "footer" else 156)
    with SpillFile(tmp_path / "merged.arrow") as merged:
        assert merged.spill_set is None
