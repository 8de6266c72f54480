"""Sectors that the disk has lost: verifying goes on beside them, and repairing recovers all but their messages.

The disk is btrfs, which answers EIO for a block that does not have its checksum: the block is changed underneath it.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import partition_files, verify
from shuffle.rows.errors import InputError
from shuffle.testing import loop_mounted
from tests.helpers.anatomy import Anatomy
from tests.helpers.input_files import INPUT_WRITERS
from tests.helpers.inspections import repaired, verified
from tests.helpers.spills import random_spill

pytestmark = pytest.mark.mount

BLOCK = 4096


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A file system that notices what is changed underneath it."""
    with loop_mounted("btrfs", 110, "-m", "single", "-d", "single") as directory:
        yield directory


def lose(path: Path, offset: int) -> None:
    """Make the block of a file in which ``offset`` is unreadable."""
    start = offset // BLOCK * BLOCK
    with path.open("rb") as file:
        os.fsync(file.fileno())
        content = os.pread(file.fileno(), BLOCK, start)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    image = path.parent.parent / "image"
    with image.open("r+b") as file:
        at = file.read().find(content)
        assert at >= 0
        file.seek(at)
        file.write(bytes(reversed(content)))
    with path.open("rb") as file, pytest.raises(OSError, match="Input/output error"):
        os.pread(file.fileno(), BLOCK, start)


@pytest.fixture
def path(disk: Path, request: pytest.FixtureRequest) -> Path:
    """A spill of its own bytes, since what was deleted still stands on the disk."""
    return random_spill(disk / f"{hash(request.node.name)}.arrow", [5000, 3000, 4000])


def test_a_lost_sector_costs_its_messages_and_no_others(path: Path, tmp_path: Path) -> None:
    lose(path, Anatomy.of(path).offsets[1] + 2 * BLOCK)
    verification = verified(path)
    found = repaired(path, tmp_path / "new.arrow")

    assert verification.damaged_partitions.tolist() == [1]
    assert "bytes that the medium has lost (Input/output error)" in str(verification.first_damage)
    assert [(loss.start, loss.row_count) for loss in found.losses] == [(1, 3000)]
    assert (found.row_count, verify(tmp_path / "new.arrow").is_sound) == (9000, True)


@pytest.mark.parametrize(
    ("place", "row_count"),
    [
        (lambda _: 0, 7000),  # of partition 0 the start was in the same sector
        (lambda file: file.index, 8000),  # of partition 2 the end was in the same sector
        (lambda file: len(file.raw) - 1, 8000),
    ],
    ids=["header", "index", "footer"],
)
def test_without_what_describes_the_file_its_rows_come_back(
    path: Path, tmp_path: Path, place: Callable[[Anatomy], int], row_count: int
) -> None:
    lose(path, place(Anatomy.of(path)))

    assert verify(path).state == "damaged"
    assert repaired(path, tmp_path / "new.arrow").row_count == row_count
    assert verify(tmp_path / "new.arrow").is_sound


@pytest.mark.parametrize("part", [0, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_the_error_of_an_input_names_the_input(disk: Path, tmp_path: Path, suffix: str, part: float) -> None:
    path = disk / f"{part}{suffix}"
    texts = random.Random(suffix + str(part)).choices([f"text {number}" for number in range(10**5)], k=20_000)
    INPUT_WRITERS[suffix](pa.table({"key": range(20_000), "text": texts}), path)
    lose(path, int(path.stat().st_size * part))

    with pytest.raises((InputError, OSError), match=rf"{re.escape(str(path))}.*Input/output error"):
        partition_files([path], tmp_path / "out.arrow", by=["key"], partitions=2)
    assert list(tmp_path.iterdir()) == []
