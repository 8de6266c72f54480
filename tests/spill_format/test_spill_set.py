"""Sets of spills: written into finished files, and complete or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from spill_format import SpillFile
from spill_format.spill_set import MissingSpills, SpillSet, encode_membership, find_missing
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import write_sample

ONE, OTHER = b"1" * 16, b"2" * 16


def test_a_finished_file_is_made_the_member_of_a_set(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a.arrow")
    with SpillFile(path) as spill:
        assert spill.spill_set is None
        place = spill.membership_offset
    assert place == Anatomy.of(path).membership
    with path.open("r+b") as file:
        file.seek(place)
        file.write(encode_membership(SpillSet(ONE, 2, 7)))
    with SpillFile(path) as spill:
        assert spill.spill_set == SpillSet(ONE, 2, 7)
        spill.verify()


@pytest.mark.parametrize(
    ("spill_set", "words"),
    [
        (SpillSet(b"short", 0, 1), "16 bytes that are not all zero"),
        (SpillSet(bytes(16), 0, 1), "16 bytes that are not all zero"),
        (SpillSet(ONE, 1, 1), "spill 1 of 1 does not exist"),
        (SpillSet(ONE, -1, 1), "spill -1 of 1 does not exist"),
        (SpillSet(ONE, 0, 1 << 32), "does not exist"),
    ],
)
def test_what_is_no_set_is_refused(spill_set: SpillSet, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode_membership(spill_set)


@pytest.mark.parametrize(
    ("members", "missing"),
    [
        ([], []),
        ([("a", None), ("b", None)], []),
        ([("a", SpillSet(ONE, 1, 2)), ("b", SpillSet(ONE, 0, 2)), ("c", None)], []),
        ([("a", SpillSet(ONE, 0, 2)), ("a", SpillSet(ONE, 0, 2))], [MissingSpills(["a"], 2, 1)]),
        ([("a", SpillSet(ONE, 1, 3)), ("b", SpillSet(OTHER, 0, 1))], [MissingSpills(["a"], 3, 0)]),
        (
            [("a", SpillSet(ONE, 0, 1 << 31)), ("b", SpillSet(OTHER, 0, 2))],
            [MissingSpills(["a"], 1 << 31, 1), MissingSpills(["b"], 2, 1)],
        ),
    ],
)
def test_a_set_is_complete_or_not(members: list[tuple[str, SpillSet | None]], missing: list[MissingSpills]) -> None:
    assert find_missing(members) == missing
