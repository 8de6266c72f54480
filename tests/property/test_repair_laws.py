"""Laws of recovery: every whole record batch before a cut, and beside any damage, comes back; nothing else does."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from shuffle.inspecting.losses import lossy_partitions
from shuffle.inspecting.salvage import Salvage, salvage
from shuffle.testing import write_spill
from spill_format import SpillFile
from spill_format.errors import CorruptError
from tests.helpers.anatomy import Anatomy
from tests.helpers.inspections import repaired
from tests.helpers.spills import flat_batch, index_of, read_everything

BATCHES = {0: [flat_batch(3), flat_batch(2, 3)], 2: [flat_batch(4, 5)], 3: [flat_batch(1, 9), flat_batch(2, 10)]}
PARTITION_COUNT = 5


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repair")


@pytest.fixture(scope="module")
def sound(directory: Path) -> Anatomy:
    return Anatomy.of(write_spill(BATCHES, directory / "sound.arrow", partition_count=PARTITION_COUNT))


@pytest.fixture(scope="module")
def messages(sound: Anatomy) -> list[tuple[int, int, int, int]]:
    """Start, end, partition and first number of each record batch."""
    index = index_of(sound.raw)
    flat = [(partition, batch) for partition, batches in BATCHES.items() for batch in batches]
    borders = pairwise(index.message_offsets.tolist())
    return [(start, end, p, batch["n"][0].as_py()) for (start, end), (p, batch) in zip(borders, flat, strict=True)]


def recovered(directory: Path, content: bytes) -> tuple[Salvage, list[int]] | None:
    """The report, and the first number of each batch that came back; None where nothing did."""
    (directory / "damaged.arrow").write_bytes(content)
    try:
        report = repaired(directory / "damaged.arrow", directory / "repaired.arrow", overwrite=True)
    except CorruptError:
        return None
    table = read_everything(directory / "repaired.arrow")
    assert table.num_rows == report.row_count
    with SpillFile(directory / "repaired.arrow") as spill:
        assert spill.partition_count == PARTITION_COUNT
        assert not np.any(spill.layout.offsets % 64)
        batches = [(p, b["n"][0].as_py()) for p in range(spill.partition_count) for b in spill.batches(p)]
    assert [partition for partition, _ in batches] == [message.partition for message in report.messages]
    # What is written is sound, so nothing of it is lost when it is repaired again.
    assert salvage(str(directory / "repaired.arrow")).losses == ()
    return report, [first for _, first in batches]


@pytest.mark.slow
def test_cut_anywhere_all_whole_messages_before_the_cut_come_back(
    directory: Path, sound: Anatomy, messages: list[tuple[int, int, int, int]]
) -> None:
    borders = {sound.marker, sound.index, sound.summary, sound.footer, len(sound.raw)}
    borders |= {border for start, end, _, _ in messages for border in (start, end)}
    lengths = set(range(0, len(sound.raw), 5)) | {b + d for b in borders for d in range(-17, 18)}
    for length in sorted(lengths & set(range(len(sound.raw)))):
        result = recovered(directory, sound.raw[:length])
        whole = [(p, first) for _, end, p, first in messages if end <= length]
        if not whole:
            assert result is None
            continue
        assert result is not None
        report, firsts = result
        assert firsts == [first for _, first in whole], f"cut at {length}"
        lossy = set(lossy_partitions(report.losses).tolist())
        if length >= sound.marker + 8:
            assert not lossy
        else:
            assert lossy >= {p for _, end, p, _ in messages if end > length}
            assert PARTITION_COUNT - 1 in lossy


@settings(max_examples=300)
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 120)), min_size=1, max_size=6),
    cut=st.none() | st.floats(0.3, 1),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_damaged_no_message_beside_it_is_lost(
    directory: Path,
    sound: Anatomy,
    messages: list[tuple[int, int, int, int]],
    places: list[tuple[float, int]],
    cut: float | None,
    seed: int,
) -> None:
    content = bytearray(sound.raw)
    for place, length in places:
        start = int(place * len(content))
        content[start : start + length] = random.Random(seed).randbytes(len(content[start : start + length]))
    length = len(content) if cut is None else int(cut * len(content))
    damaged = bytes(content[:length])
    whole = [(p, f) for start, end, p, f in messages if end <= length and damaged[start:end] == sound.raw[start:end]]
    lost = {p for _, _, p, f in messages if (p, f) not in whole}

    header_sound = damaged[8 : sound.offsets[0]] == sound.raw[8 : sound.offsets[0]]
    index_sound = damaged[sound.index : sound.footer] == sound.raw[sound.index : sound.footer]
    assume(header_sound or index_sound)  # the schema in the footer has no checksum, so a wrong one may be read there
    result = recovered(directory, damaged)
    if result is None:
        assert not whole
        return
    report, firsts = result
    assert firsts == [first for _, first in whole]
    lossy = set(lossy_partitions(report.losses).tolist())
    assert lossy >= lost
    if index_sound:
        assert lossy == lost
        expected_rows = sum(batch.num_rows for batches in BATCHES.values() for batch in batches) - report.row_count
        assert sum(loss.row_count or 0 for loss in report.losses) == expected_rows
