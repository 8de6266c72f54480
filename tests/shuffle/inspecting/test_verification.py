"""Verifying finds damage wherever it is, says which partitions it leaves sound, and takes several files at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shuffle.inspecting.kinds import find
from shuffle.inspecting.results import Failure, FileVerification
from shuffle.inspecting.verification import verify, verify_each
from spill_format import SpillFile, SpillWriter
from spill_format.errors import CorruptError, NotPartitionedError, TruncatedError
from spill_format.partitioner import PartitionerColumn, PartitionerDescription
from tests.helpers.anatomy import Anatomy
from tests.helpers.inspections import inspected, verified
from tests.helpers.kept_spills import kept_spills, said_of
from tests.helpers.spills import SCHEMA, batch_of, random_spill, random_spills


def damaged(path: Path, *offsets: int) -> None:
    content = bytearray(path.read_bytes())
    for offset in offsets:
        content[offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("threads", [1, 3])
def test_verifying_a_sound_file_reads_every_range(tmp_path: Path, threads: int) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [80_000, 0, 5])
    read: list[int] = []
    verification = verified(path, threads=threads, progress=read.append)
    assert verification.first_damage is None
    assert verification.sound_partitions.tolist() == [0, 1, 2]
    assert verification.row_count == 80_005
    assert sum(read) == inspected(path).sizes.byte_count > 1 << 20


@pytest.mark.parametrize("threads", [1, 3])
def test_every_damaged_partition_is_named_and_so_is_every_sound_one(tmp_path: Path, threads: int) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [100, 100, 0, 100, 5])
    with SpillFile(path) as spill:
        offsets = spill.layout.offsets.tolist()
    damaged(path, offsets[1], offsets[4] - 1)
    verification = verified(path, threads=threads)
    assert verification.damaged_partitions.tolist() == [1, 3]
    assert verification.sound_partitions.tolist() == [0, 2, 4]
    assert isinstance(verification.first_damage, CorruptError)
    assert (verification.first_damage.partition, verification.first_damage.offset) == (1, offsets[1])


@pytest.mark.slow
def test_no_byte_of_a_file_can_change_unnoticed(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    sound = path.read_bytes()
    for offset in range(len(sound)):
        damaged(path, offset)
        assert not verify(path).is_sound, f"offset {offset} of {len(sound)}"
        path.write_bytes(sound)


@pytest.mark.parametrize(
    ("cut", "sound"),
    [
        (lambda file: file.footer + 9, [0, 1, 2]),
        (lambda file: file.offsets[3] - 8, [0, 1]),  # the metadata of partition 2's batch is left
        (lambda file: file.offsets[2] + 9, []),  # nothing tells whether 0 or 1 had further batches
        (lambda _: 40, []),
    ],
)
def test_of_a_cut_file_the_partitions_known_to_be_whole_are_named(
    tmp_path: Path, cut: Callable[[Anatomy], int], sound: list[int]
) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    anatomy = Anatomy.of(path)
    path.write_bytes(anatomy.raw[: cut(anatomy)])
    verification = verified(path)
    assert not verification.structure_is_sound
    assert isinstance(verification.first_damage, TruncatedError)
    assert verification.sound_partitions.tolist() == sound


def test_fast_finds_damage_of_the_structure_and_reads_no_range(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [3, 0, 2])
    anatomy = Anatomy.of(path)
    read: list[int] = []
    damaged(path, anatomy.offsets[0] + 100)
    assert verified(path, fast=True, progress=read.append).first_damage is None
    damaged(path, anatomy.footer + 8)
    verification = verified(path, fast=True, progress=read.append)
    assert (verification.partition_count, verification.structure_is_sound, read) == (None, False, [])


@pytest.mark.parametrize("threads", [1, 4])
def test_verdicts_of_many_files_come_in_order_and_none_stays_open(tmp_path: Path, threads: int) -> None:
    paths = random_spills(tmp_path, *([number, 0, 7] for number in range(20)))
    damaged(paths[3], Anatomy.of(paths[3]).offsets[2] + 40)
    paths[5].unlink()
    before = os.listdir("/proc/self/fd")
    verdicts = verify(paths, threads=threads).files
    assert os.listdir("/proc/self/fd") == before
    assert isinstance(verdicts[5], Failure)
    assert isinstance(verdicts[5].error, FileNotFoundError)
    for number, verdict in enumerate(verdicts):
        if number != 5:
            assert isinstance(verdict, FileVerification)
            assert (verdict.path, verdict.row_count) == (str(paths[number]), number + 7)
            assert verdict.damaged_partitions.tolist() == ([2] if number == 3 else [])


def test_verifying_may_be_given_up(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    files = find(random_spills(tmp_path, *([1, 2] for _ in range(9))))
    verdicts = verify_each(files, fast=False, threads=3, progress=lambda _count: None)
    assert isinstance(next(verdicts), FileVerification)
    verdicts.close()  # type: ignore[attr-defined]
    assert os.listdir("/proc/self/fd") == before


def test_large_files_are_cut_into_tasks_that_cover_every_partition(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [400_000, 0, 400_000, 1, 800_000, 3])
    anatomy = Anatomy.of(path)
    damaged(path, *(anatomy.offsets[partition + 1] - 1 for partition in (0, 2, 3, 4, 5)))
    verification = verified(path, threads=2)
    assert verification.damaged_partitions.tolist() == [0, 2, 3, 4, 5]
    assert verification.sound_partitions.tolist() == [1]


def test_an_arrow_file_without_an_index_cannot_be_verified(tmp_path: Path) -> None:
    with pa.ipc.new_file(tmp_path / "plain.arrow", SCHEMA) as writer:
        writer.write_batch(batch_of(np.arange(3)))
    (found,) = verify(tmp_path / "plain.arrow").files
    assert isinstance(found, Failure)
    assert isinstance(found.error, NotPartitionedError)


OF_KEY = PartitionerDescription("hash", (PartitionerColumn("key", "int64"),), 2)
OF_TEXT = PartitionerDescription("hash", (PartitionerColumn("text", "string"),), 2)
OTHER_SCHEMA = pa.schema([("key", pa.int32()), ("text", pa.string())])


@pytest.mark.parametrize(
    ("schema", "partitioner", "partition_count", "problem"),
    [
        (OTHER_SCHEMA, OF_KEY, 2, "another schema than"),
        (SCHEMA, None, 3, "another number of partitions than"),
        (SCHEMA, OF_TEXT, 2, "types of keys int64 and string"),
    ],
)
def test_spills_of_a_directory_that_a_merge_would_refuse_are_unfit(
    tmp_path: Path, schema: pa.Schema, partitioner: PartitionerDescription | None, partition_count: int, problem: str
) -> None:
    """Files of other names, and of other directories, are not merged together, and not compared."""
    SpillWriter(tmp_path / "a.spill.arrow", SCHEMA, 2, partitioner=OF_KEY).close()
    SpillWriter(tmp_path / "b.spill.arrow", schema, partition_count, partitioner=partitioner).close()
    (tmp_path / "there").mkdir()
    for name in ("c.arrow", "there/d.spill.arrow"):
        shutil.copy(tmp_path / "b.spill.arrow", tmp_path / name)
    found = verify([tmp_path, tmp_path / "there"])

    assert [file.state for file in found.files] == ["ok", "unfit", "ok", "ok"]
    assert problem in (found.files[1].problem or "")
    assert (found.state, str(found)) == ("unfit", "1 of 4 files unfit")


@pytest.mark.parametrize(
    ("given", "unfit"),
    [([0, 1, 2], None), ([1], 1), ([0, 2], 0), ([1, 2], 1)],
    ids=["whole", "one", "a gap", "a start"],
)
def test_a_set_of_spills_that_is_not_whole_is_named_once(tmp_path: Path, given: list[int], unfit: int | None) -> None:
    """Of a directory, which a merge would take as it is; of files given by name, nobody knows what else there is."""
    kept_spills(tmp_path, given)
    random_spill(tmp_path / "alone.spill.arrow", [3, 0, 50])
    found = {Path(file.path).name: file for file in verify(tmp_path).files}

    bad = [name for name, file in found.items() if file.state != "ok"]
    assert bad == ([] if unfit is None else [f"{unfit}.spill.arrow"])
    if unfit is not None:
        assert said_of(given) in (found[f"{unfit}.spill.arrow"].problem or "")
    assert verify([tmp_path / f"{number}.spill.arrow" for number in given]).is_sound
