"""Messages are found by their seals, at the places given or wherever they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations, pairwise
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from shuffle.testing import write_spill
from spill_format.message_scan import FoundMessage, MessageReader, ascending
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import flat_batch, index_of, write_sample


@contextmanager
def reading(path: Path, partition_count: int | None = 4) -> Iterator[MessageReader]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield MessageReader(
            descriptor, str(path), os.path.getsize(path), partition_count, lambda _: True, lambda _: None
        )
    finally:
        os.close(descriptor)


@pytest.fixture
def sound(tmp_path: Path) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path / "a.arrow"))


def offsets_of(file: Anatomy) -> list[int]:
    return [int(offset) for offset in index_of(file.raw).message_offsets]


def test_a_message_says_where_it_belongs_and_how_many_rows_it_has(tmp_path: Path, sound: Anatomy) -> None:
    with reading(tmp_path / "a.arrow") as reader:
        found = [reader.at(offset) for offset in offsets_of(sound)[:-1]]
    assert [(m.partition, m.row_count, m.is_whole) for m in found if m] == [(0, 3, True), (0, 1, True), (2, 4, True)]
    assert [(m.start, m.stop) for m in found if m] == list(pairwise(offsets_of(sound)))


def test_no_message_is_found_anywhere_else(tmp_path: Path, sound: Anatomy) -> None:
    with reading(tmp_path / "a.arrow") as reader:
        found = [offset for offset in range(len(sound.raw) + 9) if reader.at(offset) is not None]
    assert found == offsets_of(sound)[:-1]


def test_a_scan_finds_all_messages_and_their_end(tmp_path: Path, sound: Anatomy) -> None:
    with reading(tmp_path / "a.arrow") as reader:
        for start in (8, sound.offsets[0]):
            scan = reader.scan(start)
            assert [message.start for message in scan.messages] == offsets_of(sound)[:-1]
            assert scan.ranges_end == sound.marker


def test_a_message_with_a_damaged_body_is_found_and_not_whole(tmp_path: Path, sound: Anatomy) -> None:
    (tmp_path / "a.arrow").write_bytes(sound.patched(sound.offsets[1] - 8, b"damaged!"))
    with reading(tmp_path / "a.arrow") as reader:
        scan = reader.scan(sound.offsets[0])
    assert [(m.partition, m.row_count, m.is_whole) for m in scan.messages] == [
        (0, 3, True),
        (0, 1, False),
        (2, 4, True),
    ]


def test_a_message_of_a_partition_that_does_not_exist_is_none(tmp_path: Path, sound: Anatomy) -> None:
    with reading(tmp_path / "a.arrow", partition_count=2) as reader:
        assert [message.partition for message in reader.scan(sound.offsets[0]).messages] == [0, 0]
    with reading(tmp_path / "a.arrow", partition_count=None) as reader:
        assert [message.partition for message in reader.scan(sound.offsets[0]).messages] == [0, 0, 2]


@pytest.mark.parametrize("gap_bytes", [8, 1024, (1 << 20) - 8, 1 << 20, (1 << 20) + 8, 5 << 20])
@pytest.mark.parametrize("filling", [b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\xff\x20\0\0\0"])
def test_a_message_behind_any_gap_is_found(tmp_path: Path, sound: Anatomy, gap_bytes: int, filling: bytes) -> None:
    first, second = sound.offsets[2:4]
    gap = filling * (min(gap_bytes, 1 << 17) // 8) + bytes(max(gap_bytes - (1 << 17), 0))
    (tmp_path / "a.arrow").write_bytes(sound.raw[:first] + gap + sound.raw[first:second])
    with reading(tmp_path / "a.arrow") as reader:
        scan = reader.scan(sound.offsets[0])
    assert [message.start for message in scan.messages][-1] == first + gap_bytes
    assert scan.ranges_end is None


def test_an_end_is_believed_behind_a_message_and_else_with_an_index_behind_it(tmp_path: Path, sound: Anatomy) -> None:
    path = tmp_path / "a.arrow"
    end_of_stream = sound.raw[sound.marker : sound.marker + 8]
    for content, ranges_end in (
        (sound.raw[: sound.marker + 8], sound.marker),
        (sound.raw[: sound.marker] + bytes(8) + end_of_stream, None),
        (sound.raw[: sound.marker] + bytes(8) + sound.raw[sound.marker :], sound.marker + 8),
        (sound.raw[: sound.marker], None),
    ):
        path.write_bytes(content)
        with reading(path) as reader:
            assert reader.scan(sound.offsets[0]).ranges_end == ranges_end


def test_a_value_like_an_end_is_none_in_a_body_that_is_cut_short(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64())])
    batches = [pa.record_batch([[0xFFFFFFFF] * 8], schema=schema), pa.record_batch([[1]], schema=schema)]
    outer = Anatomy.of(
        write_spill({0: batches[:1], 1: batches[1:]}, tmp_path / "b.arrow", schema=schema, partition_count=4)
    )
    end = outer.offsets[1]
    (tmp_path / "b.arrow").write_bytes(outer.spliced(end - 16, end))
    with reading(tmp_path / "b.arrow") as reader:
        scan = reader.scan(outer.offsets[0])
    assert [(message.partition, message.is_whole) for message in scan.messages] == [(0, False), (1, True)]
    assert scan.ranges_end == outer.marker - 16


def test_a_file_inside_a_value_is_passed_over(tmp_path: Path, sound: Anatomy) -> None:
    schema = pa.schema([("file", pa.binary())])
    batch = pa.record_batch([[sound.raw]], schema=schema)
    outer = Anatomy.of(write_spill({0: [batch], 1: [batch]}, tmp_path / "b.arrow", schema=schema, partition_count=4))
    with reading(tmp_path / "b.arrow") as reader:
        assert [message.partition for message in reader.scan(outer.offsets[0]).messages] == [0, 1]


def message(partition: int, offset: int = 0) -> FoundMessage:
    return FoundMessage(offset, 64, 64, partition, 1, is_whole=True, metadata_crc32c=0, body_crc32c=0)


@given(st.lists(st.integers(0, 5), max_size=9))
def test_the_most_messages_whose_partitions_never_decrease_are_kept(partitions: list[int]) -> None:
    messages = [message(partition, number) for number, partition in enumerate(partitions)]
    kept = ascending(messages)
    assert [m.start for m in kept] == sorted(m.start for m in kept)
    assert [m.partition for m in kept] == sorted(m.partition for m in kept)
    longest = max(
        size
        for size in range(len(messages) + 1)
        if any(list(some) == sorted(some) for some in combinations(partitions, size))
    )
    assert len(kept) == longest


def test_large_batches_are_one_message(tmp_path: Path) -> None:
    anatomy = Anatomy.of(write_spill({1: [flat_batch(200_000)]}, tmp_path / "b.arrow", partition_count=4))
    with reading(tmp_path / "b.arrow") as reader:
        (found,) = reader.scan(anatomy.offsets[0]).messages
    assert (found.row_count, found.stop) == (200_000, anatomy.marker)
