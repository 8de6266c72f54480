"""Damage that opening does not look at, and the laws: no damage gives anything but its error."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from shuffle.testing import write_spill
from spill_format import ChecksumError, CorruptError, SpillError, SpillFile, TruncatedError
from spill_format.messages import metadata_length_of
from spill_format.schemas import ORIGINAL_SCHEMA_KEY, storage_schema
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import Damage, i64, range_forged, sealed_for, u32, with_flatbuffer
from tests.helpers.inspections import verified
from tests.helpers.spills import flat_batch, read_everything, write_sample


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path_factory.mktemp("sound") / "sample.spill.arrow"))


# Damage to ranges, which opening does not look at: what it is, how made, what reading says, what verifying says.
Found = tuple[type[SpillError], list[str]] | None
RANGES: list[tuple[str, Damage, Found, Found]] = [
    ("values", lambda s: s.patched(s.offsets[3] - 8, b"\xee"), None, (ChecksumError, ["partition 2", "range of"])),
    (
        "message prefix",
        lambda s: s.patched(s.offsets[0], b"\0"),
        (CorruptError, ["partition 0", "no message starts with 00 ff ff ff"]),
        (ChecksumError, ["partition 0"]),
    ),
    (
        "metadata length",
        lambda s: s.patched(s.offsets[0] + 4, u32(64)),
        (CorruptError, ["length of a record batch's metadata", "found 72"]),
        (ChecksumError, ["partition 0"]),
    ),
    (
        "metadata",
        lambda s: s.patched(s.offsets[2] + 40, b"\xee"),
        (ChecksumError, ["partition 2", "CRC-32C of a record batch's metadata"]),
        (ChecksumError, ["partition 2"]),
    ),
    (
        "another partition's message",
        lambda s: range_forged(s, 2, sealed_for(1)),
        (CorruptError, ["partition 2", "written for another partition", "expected 2, found 1"]),
        None,
    ),
    (
        "flatbuffer that is none",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: b"\xff" * len(flatbuffer))),
        (CorruptError, ["partition 2", "cannot be decoded"]),
        None,
    ),
    (
        "absurd lengths in the flatbuffer",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: flatbuffer.replace(i64(4), i64(2**62)))),
        (CorruptError, ["partition 2", "cannot be decoded"]),
        None,
    ),
    (
        "negative lengths in the flatbuffer",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: flatbuffer.replace(i64(4), i64(-4)))),
        (CorruptError, ["partition 2", "cannot be decoded"]),
        None,
    ),
    (
        "rows fewer than the index says",
        lambda s: s.patched_index(s.of_partition(0, "rows"), i64(9)),
        (CorruptError, ["partition 0", "rows of the partition", "expected 9, found 4"]),
        None,
    ),
    (
        "recorded checksum",
        lambda s: s.patched_index(s.of_partition(2, "crc32c"), u32(1)),
        None,
        (ChecksumError, ["partition 2", "CRC-32C of the range", "expected 00000001"]),
    ),
]


@pytest.mark.parametrize(("damage", "on_read", "on_verify"), [c[1:] for c in RANGES], ids=[c[0] for c in RANGES])
def test_damage_to_ranges_is_found_by_those_who_look(
    sound: Anatomy, tmp_path: Path, damage: Damage, on_read: Found, on_verify: Found
) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(damage(sound))
    with SpillFile(path) as spill:
        for act, found in ((lambda: spill.read(0, 4), on_read), (spill.verify, on_verify)):
            if found is None:
                act()
                continue
            error, fragments = found
            with pytest.raises(SpillError) as caught:
                act()
            assert type(caught.value) is error
            for fragment in [str(path), *fragments]:
                assert fragment in str(caught.value)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_an_absurd_decompressed_length_is_corruption(tmp_path: Path, compression: str) -> None:
    path = write_spill(
        {0: [flat_batch(1000)]}, tmp_path / "compressed.arrow", partition_count=1, compression=compression
    )
    sound = Anatomy.of(path)
    body = sound.offsets[0] + metadata_length_of(sound.raw[sound.offsets[0] :])
    path.write_bytes(sound.patched(sound.raw.index(i64(8000), body), i64(2**60)))
    with SpillFile(path) as spill, pytest.raises(CorruptError, match=r"partition 0.*cannot be decoded"):
        spill.read(0)


@pytest.fixture
def forging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas are written as they are given, though a writer would leave out what contradicts them."""
    monkeypatch.setattr("spill_format.encoder.storage_schema", lambda schema: schema)


@pytest.mark.usefixtures("forging")
def test_a_schema_that_contradicts_its_original_is_corruption(tmp_path: Path) -> None:
    of_strings = storage_schema(pa.schema([("d", pa.dictionary(pa.int8(), pa.string()))]))
    forged = pa.schema([("d", pa.int64())], metadata=of_strings.metadata)
    write_spill({}, tmp_path / "forged.arrow", schema=forged, partition_count=1)
    with pytest.raises(CorruptError, match="original schema in the metadata is not"):
        SpillFile(tmp_path / "forged.arrow")
    assert "original schema in the metadata is not" in str(verified(tmp_path / "forged.arrow").first_damage)


@pytest.mark.usefixtures("forging")
@pytest.mark.parametrize("metadata", [b"no base64!", b"AAAA", b""])
def test_an_original_schema_that_is_none_is_corruption(tmp_path: Path, metadata: bytes) -> None:
    forged = pa.schema([("d", pa.int64())], metadata={ORIGINAL_SCHEMA_KEY: metadata})
    write_spill({}, tmp_path / "forged.arrow", schema=forged, partition_count=1)
    with pytest.raises(CorruptError, match="schema message cannot be decoded"):
        SpillFile(tmp_path / "forged.arrow")


@pytest.mark.slow
def test_flipping_any_byte_is_found(sound: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "flipped.arrow"
    for position in range(len(sound.raw)):
        path.write_bytes(sound.patched(position, bytes([sound.raw[position] ^ (1 << position % 8)])))
        with pytest.raises(SpillError):
            read_everything(path)


@pytest.mark.slow
def test_cutting_at_any_byte_is_found(sound: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "cut.arrow"
    for length in range(len(sound.raw)):
        path.write_bytes(sound.raw[:length])
        with pytest.raises(TruncatedError):
            SpillFile(path)


@given(data=st.data())
def test_reading_damaged_bytes_gives_rows_or_a_spill_error(
    sound: Anatomy, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(sound.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position : position + 8] = data.draw(st.binary(max_size=16))
    # The index's checksum made to fit lets the damage get further.
    if data.draw(st.booleans()) and len(damaged) == len(sound.raw):
        damaged[sound.footer - 4 : sound.footer] = u32(crc32c(damaged[sound.index : sound.footer - 4]))
    path = tmp_path_factory.getbasetemp() / "garbled.arrow"
    path.write_bytes(damaged)
    with contextlib.suppress(SpillError), SpillFile(path) as spill:
        spill.read(0, spill.partition_count)
