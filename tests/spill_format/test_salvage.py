"""What a damaged file still says of itself, from whichever part is left."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.testing import write_spill
from spill_format.errors import CorruptError, VersionError
from spill_format.salvage import Description, describe_damaged
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import FLAT_SCHEMA, flat_batch, write_sample


def described(path: Path, content: bytes) -> Description:
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return describe_damaged(descriptor, str(path), len(content))
    finally:
        os.close(descriptor)


def flipped(raw: bytes, *offsets: int) -> bytes:
    content = bytearray(raw)
    for offset in offsets:
        content[offset] ^= 0xFF
    return bytes(content)


@pytest.fixture
def sound(tmp_path: Path) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path / "a.arrow"))


@pytest.mark.parametrize("lost", [(), ("header",), ("index",), ("footer",), ("header", "footer"), ("index", "footer")])
def test_any_sound_part_tells_schema_partition_count_and_alignment(
    tmp_path: Path, sound: Anatomy, lost: tuple[str, ...]
) -> None:
    places = {"header": [60], "index": [sound.index + 60], "footer": [sound.footer, len(sound.raw) - 1]}
    description = described(
        tmp_path / "a.arrow", flipped(sound.raw, *(place for part in lost for place in places[part]))
    )
    assert description.stored_schema == FLAT_SCHEMA
    assert (description.partition_count, description.alignment) == (4, 64)
    assert description.first_offset == sound.offsets[0]
    assert description.lost_parts == lost
    assert (description.old_index is None) == ("index" in lost)


@pytest.mark.parametrize("partition_count", [1, 2, 3, 4, 5, 6, 7, 8, 100, 1001])
@pytest.mark.parametrize("batch_count", [0, 1, 2, 3, 20])
def test_the_footer_alone_tells_the_partition_count_by_its_note(
    tmp_path: Path, partition_count: int, batch_count: int
) -> None:
    batches = [flat_batch(1)] * batch_count
    sound = Anatomy.of(
        write_spill({0: batches}, tmp_path / "a.arrow", schema=FLAT_SCHEMA, partition_count=partition_count)
    )
    description = described(tmp_path / "a.arrow", flipped(sound.raw, 60, sound.index + 60))
    assert description.stored_schema == FLAT_SCHEMA
    assert description.partition_count == partition_count
    assert description.first_offset == (sound.offsets[0] if batch_count else None)


def test_an_index_that_was_moved_is_known_to_be_out_of_place(tmp_path: Path, sound: Anatomy) -> None:
    start = sound.offsets[0]
    for content, is_in_place in ((sound.raw, True), (sound.raw[:start] + sound.raw[start + 64 :], False)):
        index = described(tmp_path / "a.arrow", content).old_index
        assert index is not None
        assert index.is_in_place is is_in_place


def test_the_index_of_a_file_inside_a_value_is_not_this_files(tmp_path: Path, sound: Anatomy) -> None:
    schema = pa.schema([("file", pa.binary())])
    batch = pa.record_batch([[sound.raw]], schema=schema)
    outer = Anatomy.of(write_spill({0: [batch]}, tmp_path / "b.arrow", schema=schema, partition_count=2))
    assert described(tmp_path / "b.arrow", outer.raw[: outer.marker]).old_index is None


def test_a_sound_index_of_a_newer_version_is_refused_and_a_damaged_version_is_damage(
    tmp_path: Path, sound: Anatomy
) -> None:
    with pytest.raises(VersionError):
        described(tmp_path / "a.arrow", sound.patched_index(sound.summary + 8, b"\x02"))
    description = described(tmp_path / "a.arrow", sound.patched(sound.summary + 8, b"\x02"))
    assert description.lost_parts == ("index",)


@pytest.mark.parametrize("length", [0, 5, 8, 12, 100])
def test_a_file_that_lost_its_schema_is_told_so(tmp_path: Path, sound: Anatomy, length: int) -> None:
    with pytest.raises(CorruptError, match="nothing can be recovered: header, index and footer"):
        described(tmp_path / "a.arrow", sound.raw[:length])
