"""What Arrow files must agree in to become one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from shuffle import merge
from spill_format import MismatchError, SpillFile
from spill_format.spill_set import SpillSet, encode_membership
from tests.helpers.spills import write_sample


@pytest.mark.parametrize("given", [[0], [1, 2], [0, 1, 2], [0, 1, 1], [2, 0, 1]])
def test_spills_of_a_map_task_are_merged_together_or_not_at_all(tmp_path: Path, given: list[int]) -> None:
    spills = [write_sample(tmp_path / f"{number}.spill.arrow") for number in range(3)]
    for number, spill in enumerate(spills):
        with SpillFile(spill) as file:
            place = file.membership_offset
        with spill.open("r+b") as writer:
            writer.seek(place)
            writer.write(encode_membership(SpillSet(b"a map task's set", number, 3)))
    missing = sorted({0, 1, 2} - set(given))
    alone = write_sample(tmp_path / "alone.spill.arrow")
    with ExitStack() as stack:
        if missing:
            said = f"3 spills of a map task, of which {len(set(given))} are here: number {missing[0]} is missing"
            stack.enter_context(pytest.raises(MismatchError, match=said))
        merge([alone, *(spills[number] for number in given)], tmp_path / "merged.arrow")
