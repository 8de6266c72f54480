"""Damage that opening does not look at, and the laws: no damage gives anything but its error."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.ipc
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from shuffle import merge
from shuffle.client.sealed import SealedMessages
from shuffle.testing import write_spill
from spill_format import ChecksumError, CorruptError, SpillError, SpillFile, TruncatedError
from spill_format.schemas import ORIGINAL_SCHEMA_KEY, storage_schema
from spill_format.storage.remote import RemoteStorage
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import Damage, i64, range_forged, sealed_for, u32, with_body, with_flatbuffer
from tests.helpers.inspections import verified
from tests.helpers.spills import flat_batch, read_everything, write_sample


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path_factory.mktemp("sound") / "sample.spill.arrow"))


def compacted(path: Path) -> object:
    return merge([path], path.with_name("compacted.arrow"), compact=True, overwrite=True)


def passed_on(path: Path) -> object:
    """What a client checks of a stream as it arrives."""
    raw = Anatomy.of(path).raw
    marker = Anatomy.of(path).marker
    stream = raw[8 : marker + 8]
    return list(SealedMessages(len(stream), str(path), validate=True).feed(stream))


def raised(error: Exception | None) -> None:
    assert error is not None
    raise error


OFFSETS, BEYOND = struct.pack("<5i", 0, 5, 5, 10, 15), struct.pack("<5i", 0, 5, 2**30, 10, 15)
"""Of the texts of partition 2: row 4, none, row 6, row 7."""

# Who reads ranges, and how.
READERS: dict[str, Callable[[Path], object]] = {
    "read": lambda path: SpillFile(path).read(0, 4),
    "batches": lambda path: SpillFile(path).batches(0, 4).read_all(),
    "slices": lambda path: [SpillFile(path).read_slice(SpillFile(path).slices(part, 1)[0]) for part in (0, 2)],
    "columns": lambda path: SpillFile(path).read(0, 4, columns=["s"]),
    "values": lambda path: SpillFile(path, check="values").read(0, 4),
    "unmapped": lambda path: SpillFile(path, mapped=False).read(0, 4),
    "remote": lambda path: SpillFile(path, storage=RemoteStorage(pyarrow.fs.LocalFileSystem())).read(0, 4),
    "verify": lambda path: SpillFile(path).verify(),
    "the command verify": lambda path: raised(verified(path).first_damage),
    "compaction": compacted,
    "client": passed_on,
}
ALL = set(READERS)
JUDGES = {"verify", "the command verify", "compaction"}
FOLLOWERS = {"columns", "values", "verify", "the command verify", "client"}
"""Those that look at each value."""

# Damage to ranges, which opening does not look at: what it is, how made, the verdict, and whose it is.
RANGES: list[tuple[str, Damage, type[SpillError], list[str], set[str]]] = [
    (
        "values",
        lambda s: s.patched(s.offsets[3] - 8, b"\xee"),
        ChecksumError,
        ["CRC-32C of a record batch's body"],
        ALL - {"columns"},
    ),
    (
        "message prefix",
        lambda s: s.patched(s.offsets[2], b"\0"),
        CorruptError,
        ["no message starts with 00 ff ff ff"],
        ALL,
    ),
    (
        "metadata length",
        lambda s: s.patched(s.offsets[2] + 4, u32(64)),
        CorruptError,
        ["length of a record batch's metadata", "found 72"],
        ALL - {"client"},  # which knows no length but that
    ),
    (
        "metadata",
        lambda s: s.patched(s.offsets[2] + 40, b"\xee"),
        ChecksumError,
        ["CRC-32C of a record batch's metadata"],
        ALL,
    ),
    (
        "seal",
        lambda s: range_forged(s, 2, lambda message: message.replace(b"SEAL", b"LAES", 1)),
        CorruptError,
        ["the record batch has no seal"],
        ALL,
    ),
    (
        "another partition's message",
        lambda s: range_forged(s, 2, sealed_for(1)),
        CorruptError,
        ["written for another partition", "expected 2, found 1"],
        ALL - {"client"},
    ),
    (
        "flatbuffer that is none",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: b"\xff" * len(flatbuffer))),
        CorruptError,
        ["cannot be decoded"],
        ALL - {"client"},  # which needs it for the length
    ),
    (
        "absurd lengths in the flatbuffer",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: flatbuffer.replace(i64(4), i64(2**62)))),
        CorruptError,
        ["cannot be decoded"],
        ALL,
    ),
    (
        "negative lengths in the flatbuffer",
        lambda s: range_forged(s, 2, with_flatbuffer(lambda flatbuffer: flatbuffer.replace(i64(4), i64(-4)))),
        CorruptError,
        [],
        ALL,
    ),
    (
        "offsets out of their buffer",
        lambda s: range_forged(s, 2, with_body(lambda body: body.replace(OFFSETS, BEYOND))),
        CorruptError,
        ["cannot be decoded"],
        FOLLOWERS,
    ),
    (
        "text that is none",
        lambda s: range_forged(s, 2, with_body(lambda body: body.replace(b"row 4", b"row \xff"))),
        CorruptError,
        ["cannot be decoded", "UTF"],
        FOLLOWERS,
    ),
    (
        "rows fewer than the index says",
        lambda s: s.patched_index(s.of_partition(2, "rows"), i64(9)),
        CorruptError,
        ["rows of the partition", "expected 9, found 4"],
        ALL - {"client", "slices"},
    ),
    (
        "recorded checksum",
        lambda s: s.patched_index(s.of_partition(2, "crc32c"), u32(1)),
        ChecksumError,
        ["CRC-32C of the range", "expected 00000001"],
        JUDGES,
    ),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("damage", "error", "fragments", "whose"), [c[1:] for c in RANGES], ids=[c[0] for c in RANGES])
def test_every_reader_gives_the_same_verdict(
    sound: Anatomy,
    tmp_path: Path,
    damage: Damage,
    error: type[SpillError],
    fragments: list[str],
    whose: set[str],
    reader: str,
) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(damage(sound))
    if reader not in whose:
        with contextlib.suppress(SpillError):  # a client asks other questions
            READERS[reader](path)
        return
    with pytest.raises(SpillError) as caught:
        READERS[reader](path)
    assert type(caught.value) is error
    assert caught.value.partition == (None if reader == "client" else 2)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("columns", [None, ["d"]])
def test_values_that_are_followed_are_checked_before(tmp_path: Path, columns: list[str] | None) -> None:
    batch = pa.record_batch({"d": pa.array(["a", "bb", "a"]).dictionary_encode()})
    sound = Anatomy.of(write_spill({0: [batch]}, tmp_path / "x.arrow", partition_count=1, schema=batch.schema))
    offsets = struct.pack("<4i", 0, 1, 3, 4)
    forged = range_forged(sound, 0, with_body(lambda body: body.replace(offsets, struct.pack("<4i", 0, 1, 2**30, 4))))
    (tmp_path / "x.arrow").write_bytes(forged)
    with SpillFile(tmp_path / "x.arrow") as spill, pytest.raises(CorruptError, match="cannot be decoded"):
        spill.read(0, columns=columns)


def test_what_is_not_to_be_checked_is_not_looked_at(sound: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(sound.patched(sound.offsets[3] - 8, b"\xee"))
    with SpillFile(path, check="nothing") as spill:
        assert spill.read(2).num_rows == 4
    with pytest.raises(ValueError, match="check must be one of 'values', 'bytes', 'nothing', not 'all'"):
        SpillFile(path, check="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("act", [lambda spill: spill.read(0, 4), lambda spill: spill.verify()])
def test_lack_of_memory_is_no_verdict_on_a_file(
    sound: Anatomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[SpillFile], object]
) -> None:
    def without_memory(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 4096 failed")

    path = tmp_path / "sound.arrow"
    path.write_bytes(sound.raw)
    with SpillFile(path) as spill:
        monkeypatch.setattr(pa.ipc, "read_record_batch", without_memory)
        with pytest.raises(MemoryError):
            act(spill)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_an_absurd_decompressed_length_is_corruption(tmp_path: Path, compression: str) -> None:
    path = write_spill(
        {0: [flat_batch(1000)]}, tmp_path / "compressed.arrow", partition_count=1, compression=compression
    )
    forged = range_forged(Anatomy.of(path), 0, with_body(lambda body: body.replace(i64(8000), i64(2**60), 1)))
    path.write_bytes(forged)
    for read in (lambda path: SpillFile(path).read(0), compacted):
        with pytest.raises(CorruptError, match=r"compressed.arrow, partition 0, offset [0-9]+: .*cannot be decoded"):
            read(path)
    assert os.listdir(tmp_path) == ["compressed.arrow"]


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
