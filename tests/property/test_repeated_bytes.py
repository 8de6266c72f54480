"""Laws of recovery where bytes stand in a file twice: no row comes back twice, and no more is lost than there was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from shuffle.testing import write_spill
from spill_format import CorruptError, SpillFile
from tests.helpers.anatomy import Anatomy
from tests.helpers.inspections import repaired
from tests.helpers.spills import flat_batch

BATCHES = {0: [flat_batch(3), flat_batch(3, 3)], 2: [flat_batch(4, 6)], 3: [flat_batch(1, 10), flat_batch(2, 11)]}
PARTITION_COUNT = 5


def rows_of(path: Path) -> Counter[tuple[int, str]]:
    """How often each row is in each partition."""
    with SpillFile(path) as spill:
        return Counter(
            (partition, str(row))
            for partition in range(spill.partition_count)
            for row in spill.read(partition).to_pylist()
        )


def check(directory: Path, content: bytes, rows: Counter[tuple[int, str]], *, index_is_sound: bool) -> None:
    """What comes back of a damaged file is part of its rows; and with an index, the losses are the others."""
    (directory / "damaged.arrow").write_bytes(content)
    try:
        report = repaired(directory / "damaged.arrow", directory / "repaired.arrow", overwrite=True)
    except CorruptError:
        return
    assert not rows_of(directory / "repaired.arrow") - rows
    lost = [loss.row_count for loss in report.losses]
    assert all(count is None or count >= 0 for count in lost)
    if index_is_sound and None not in lost:
        assert sum(filter(None, lost)) == rows.total() - report.row_count


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repeated")


@pytest.fixture(scope="module")
def sound(directory: Path) -> Anatomy:
    return Anatomy.of(write_spill(BATCHES, directory / "sound.arrow", partition_count=PARTITION_COUNT))


@settings(max_examples=300)
@given(
    source=st.integers(0, 40),
    length=st.integers(1, 30),
    target=st.integers(0, 40),
    over=st.booleans(),
    keep_index=st.booleans(),
)
def test_bytes_that_stand_twice_give_no_row_twice(
    directory: Path, sound: Anatomy, source: int, length: int, target: int, over: bool, keep_index: bool
) -> None:
    ranges = bytearray(sound.raw[sound.offsets[0] : sound.marker])
    copied = ranges[64 * source : 64 * (source + length)]
    ranges[64 * target : 64 * target + (len(copied) if over else 0)] = copied
    end = sound.raw[sound.marker :] if keep_index else b""
    if not keep_index:  # then nothing tells messages that follow each other from equal batches
        ranges[8] ^= 0xFF
    content = sound.raw[: sound.offsets[0]] + bytes(ranges) + end
    check(directory, content, rows_of(directory / "sound.arrow"), index_is_sound=keep_index)


@pytest.mark.parametrize("damage", ["index", "no index"])
def test_a_file_behind_itself_comes_back_once(directory: Path, sound: Anatomy, damage: str) -> None:
    twice = bytearray(sound.raw * 2)
    if damage == "no index":
        for start in (sound.index, len(sound.raw) + sound.index):
            twice[start : start + 200] = bytes(200)
    check(directory, bytes(twice), rows_of(directory / "sound.arrow"), index_is_sound=False)
    assert rows_of(directory / "repaired.arrow") == rows_of(directory / "sound.arrow")


@pytest.mark.parametrize("lost", ["metadata", "body", "header", "index", "index and metadata", "index and body"])
def test_rows_of_a_file_inside_a_value_are_not_the_files(tmp_path: Path, lost: str) -> None:
    schema = pa.schema([("n", pa.int64()), ("value", pa.binary())])

    def batch(number: int, value: bytes) -> pa.RecordBatch:
        return pa.record_batch([[number], [value]], schema=schema)

    inner_rows = {partition: [batch(100 + partition, b"inner")] for partition in range(4)}
    inner = write_spill(inner_rows, tmp_path / "inner.arrow", schema=schema, partition_count=4).read_bytes()
    outer_rows = {0: [batch(0, inner)], 1: [batch(1, inner)], 2: [batch(2, b"")], 3: [batch(3, inner)]}
    path = write_spill(outer_rows, tmp_path / "outer.arrow", schema=schema, partition_count=4)
    outer = Anatomy.of(path)
    content = bytearray(outer.raw)
    if "metadata" in lost:
        content[outer.offsets[1] + 40] ^= 1
    if "body" in lost:
        content[outer.offsets[2] - 9] ^= 1
    if "header" in lost:
        content[60] ^= 1
    if "index" in lost:
        content[outer.index : outer.index + 200] = bytes(200)
        content[outer.summary + 20] ^= 1
    check(tmp_path, bytes(content), rows_of(path), index_is_sound="index" not in lost)
    kept = rows_of(tmp_path / "repaired.arrow")
    assert {partition for partition, _ in kept} >= {0, 2, 3}
