"""What comes back from damaged files, and what is told to be lost."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import repair, verify
from shuffle.inspecting.losses import Loss
from shuffle.inspecting.salvage import salvage
from shuffle.testing import write_spill
from spill_format import SpillFile, SpillWriter
from spill_format.errors import CorruptError, NotPartitionedError, SpillError, TargetExistsError, TruncatedError
from tests.helpers.anatomy import Anatomy
from tests.helpers.forgeries import header_resealed
from tests.helpers.inspections import repaired
from tests.helpers.spills import FLAT_SCHEMA, flat_batch, read_everything, write_sample

# Where the parts of the sample's three messages are: partition 0 has two, of 3 and of 1 row, partition 2 one of 4 rows.
BODY_BYTES = 8


@pytest.fixture
def sound(tmp_path: Path) -> Anatomy:
    return Anatomy.of(write_sample(tmp_path / "sound.arrow"))


def flipped(raw: bytes, *offsets: int) -> bytes:
    content = bytearray(raw)
    for offset in offsets:
        content[offset] ^= 0xFF
    return bytes(content)


def header_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, 60)


def index_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, file.index + 60)


def footer_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, file.footer + 10)


def header_and_index_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, 60, file.index + 60)


def header_and_footer_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, 60, file.footer, len(file.raw) - 1)


def index_and_footer_lost(file: Anatomy) -> bytes:
    return flipped(file.raw, file.index + 60, file.footer, len(file.raw) - 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.raw,
        lambda file: file.raw[: file.marker + 8],
        lambda file: file.raw[:-1],
        lambda file: flipped(file.raw, 0),
        lambda file: flipped(file.raw, file.marker),
        header_lost,
        index_lost,
        footer_lost,
        header_and_index_lost,
        header_and_footer_lost,
        index_and_footer_lost,
    ],
    ids=[
        "nothing",
        "cut behind the ranges",
        "cut by a byte",
        "magic",
        "end-of-stream marker",
        "header",
        "index",
        "footer",
        "header and index",
        "header and footer",
        "index and footer",
    ],
)
def test_a_file_whose_rows_are_whole_comes_back_byte_by_byte(
    tmp_path: Path, sound: Anatomy, damage: Callable[[Anatomy], bytes]
) -> None:
    (tmp_path / "damaged.arrow").write_bytes(damage(sound))
    report = repaired(tmp_path / "damaged.arrow", tmp_path / "repaired.arrow")
    assert report.losses == ()
    assert report.damaged_places == ()
    assert (tmp_path / "repaired.arrow").read_bytes() == sound.raw


def test_what_is_lost_is_told_exactly_where_the_index_is_readable(tmp_path: Path, sound: Anatomy) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(flipped(sound.raw, sound.offsets[0] + 20, sound.offsets[3] - BODY_BYTES))
    report = repaired(path, tmp_path / "repaired.arrow")
    assert report.losses == (Loss(0, 1, 3, 1), Loss(2, 3, 4, 1))
    assert report.row_count == 1
    assert [start for start, _ in report.damaged_places] == [sound.offsets[0], sound.offsets[2]]
    with SpillFile(tmp_path / "repaired.arrow") as spill:
        spill.verify()
        assert spill.partition_count == 4
        assert spill.read(0).column("n").to_pylist() == [3]


@pytest.mark.parametrize("alignment", [8, 4096])
def test_ranges_that_lost_a_message_are_aligned_again(tmp_path: Path, alignment: int) -> None:
    batches = [flat_batch(3, 3 * number) for number in range(4)]
    path = write_spill({0: batches[:2], 2: batches[2:]}, tmp_path / "a.arrow", partition_count=4, alignment=alignment)
    anatomy = Anatomy.of(path)
    path.write_bytes(flipped(anatomy.raw, anatomy.offsets[1] - BODY_BYTES))
    repaired(path, tmp_path / "repaired.arrow")
    assert read_everything(tmp_path / "repaired.arrow") == pa.Table.from_batches([batches[0], *batches[2:]])
    with SpillFile(tmp_path / "repaired.arrow") as spill:
        assert spill.alignment == alignment
        assert [offset % alignment for offset in spill.layout.offsets] == [0] * 5


@pytest.mark.parametrize(
    ("offset_of", "losses"),
    [
        # Only the body: the metadata says whose it is, and how many rows.
        (lambda file: file.offsets[3] - BODY_BYTES, (Loss(2, 3, 4, 1),)),
        # The metadata: something between the partitions on both sides.
        (lambda file: file.offsets[0] + 20, (Loss(0, 1, None, None),)),
        (lambda file: file.offsets[2] + 20, (Loss(0, 4, None, None),)),
    ],
    ids=["body", "metadata amid a range", "metadata of the last"],
)
def test_without_an_index_losses_are_told_by_what_surrounds_them(
    tmp_path: Path, sound: Anatomy, offset_of: Callable[[Anatomy], int], losses: tuple[Loss, ...]
) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(flipped(index_lost(sound), offset_of(sound)))
    assert salvage(str(path)).losses == losses


def test_a_file_cut_between_messages_may_have_lost_any_partition_behind(tmp_path: Path, sound: Anatomy) -> None:
    path = tmp_path / "cut.arrow"
    path.write_bytes(sound.raw[: sound.offsets[2]])
    report = repaired(path, tmp_path / "repaired.arrow")
    assert report.losses == (Loss(0, 4, None, None),)
    assert report.damaged_places == ()
    assert read_everything(tmp_path / "repaired.arrow").num_rows == 4


@pytest.mark.parametrize("missing", [8, 72, 200])
def test_messages_behind_bytes_that_are_missing_are_found(tmp_path: Path, sound: Anatomy, missing: int) -> None:
    path = tmp_path / "short.arrow"
    start = sound.offsets[0] + 80
    path.write_bytes(sound.raw[:start] + sound.raw[start + missing :])
    report = repaired(path, tmp_path / "repaired.arrow")
    assert report.losses == (Loss(0, 1, 3, 1),)
    assert read_everything(tmp_path / "repaired.arrow").column("n").to_pylist() == [3, 4, 5, 6, 7]


def test_a_file_without_rows_comes_back_where_it_is_known_to_be_empty(tmp_path: Path) -> None:
    path = write_spill({}, tmp_path / "empty.arrow", schema=FLAT_SCHEMA, partition_count=3)
    sound = Anatomy.of(path)
    path.write_bytes(sound.raw[: sound.index])
    assert repaired(path, tmp_path / "repaired.arrow").losses == ()
    assert (tmp_path / "repaired.arrow").read_bytes() == sound.raw
    path.write_bytes(sound.raw[: sound.marker])
    with pytest.raises(CorruptError, match="no record batch is whole"):
        repaired(path, tmp_path / "again.arrow")
    assert not (tmp_path / "again.arrow").exists()


def test_dictionaries_and_compression_come_back(tmp_path: Path) -> None:
    schema = pa.schema([("word", pa.dictionary(pa.int8(), pa.string()))], metadata={"origin": "here"})
    table = pa.table({"word": pa.array(["a", "b", "a", None]).dictionary_encode()}).cast(schema)
    path = write_spill(
        {1: table.to_batches()}, tmp_path / "a.arrow", schema=schema, partition_count=2, compression="zstd"
    )
    sound = Anatomy.of(path)
    path.write_bytes(header_lost(sound)[: sound.footer])
    repaired(path, tmp_path / "repaired.arrow")
    assert (tmp_path / "repaired.arrow").read_bytes() == sound.raw


def test_a_file_inside_a_value_is_not_taken_for_the_file(tmp_path: Path, sound: Anatomy) -> None:
    schema = pa.schema([("file", pa.binary())])
    batches = [pa.record_batch([[content]], schema=schema) for content in (b"x" * 50, sound.raw, b"y" * 50)]
    path = write_spill(
        {0: batches[:1], 1: batches[1:2], 2: batches[2:]}, tmp_path / "a.arrow", schema=schema, partition_count=3
    )
    outer = Anatomy.of(path)
    # The metadata of the message around it and the file's index are lost, so that its bytes are looked through.
    path.write_bytes(flipped(outer.raw, outer.offsets[1] + 20, outer.index + 60))
    report = repaired(path, tmp_path / "repaired.arrow")
    assert report.losses == (Loss(0, 3, None, None),)
    assert read_everything(tmp_path / "repaired.arrow").column("file").to_pylist() == [b"x" * 50, b"y" * 50]


def test_messages_written_at_wrong_places_are_left_out(tmp_path: Path, sound: Anatomy) -> None:
    first, last = sound.raw[sound.offsets[0] : sound.offsets[1]], sound.raw[sound.offsets[2] : sound.offsets[3]]
    path = tmp_path / "stale.arrow"
    path.write_bytes(sound.raw[: sound.offsets[0]] + last + first + last)
    assert repaired(path, tmp_path / "repaired.arrow").row_count == 8
    assert read_everything(tmp_path / "repaired.arrow").column("n").to_pylist() == list(range(8))


def test_the_damaged_file_is_never_written_to(tmp_path: Path, sound: Anatomy) -> None:
    path = tmp_path / "damaged.arrow"
    path.write_bytes(sound.raw[:-1])
    os.link(path, tmp_path / "other-name.arrow")
    for target in (path, tmp_path / "other-name.arrow"):
        with pytest.raises(TargetExistsError, match="never repaired in place"):
            repaired(path, target, overwrite=True)
    assert path.read_bytes() == sound.raw[:-1]


def test_an_existing_target_is_replaced_only_when_asked(tmp_path: Path, sound: Anatomy) -> None:
    (tmp_path / "taken.arrow").write_text("precious")
    with pytest.raises(TargetExistsError):
        repaired(tmp_path / "sound.arrow", tmp_path / "taken.arrow")
    assert (tmp_path / "taken.arrow").read_text() == "precious"
    repaired(tmp_path / "sound.arrow", tmp_path / "taken.arrow", overwrite=True, durable=True)
    assert (tmp_path / "taken.arrow").read_bytes() == sound.raw


@pytest.mark.parametrize("row_count", [0, 1, 5])
@pytest.mark.parametrize("cut", [None, -1, -100])
def test_a_plain_arrow_file_is_refused(tmp_path: Path, row_count: int, cut: int | None) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, flat_batch(1).schema) as writer:
        for number in range(row_count):
            writer.write(flat_batch(3, number))
    (tmp_path / "plain.arrow").write_bytes(sink.getvalue().to_pybytes()[:cut])
    with pytest.raises(NotPartitionedError, match="an Arrow file without seals and without an index, so that"):
        repaired(tmp_path / "plain.arrow", tmp_path / "repaired.arrow")
    assert os.listdir(tmp_path) == ["plain.arrow"]


@pytest.mark.parametrize("has_index", [False, True])
def test_a_header_that_promises_billions_of_partitions_takes_no_memory(
    tmp_path: Path, sound: Anatomy, has_index: bool
) -> None:
    path = tmp_path / "forged.arrow"
    forged = header_resealed(sound, 2**31 - 1, 64)
    path.write_bytes(forged if has_index else forged[: sound.index])
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="too many partitions to be found again") as raised:
            repair(path, tmp_path / "repaired.arrow")
        assert not verify(path).is_sound
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert (raised.value.expected, raised.value.actual) == ("at most 4194304", 2**31 - 1)
    assert not (tmp_path / "repaired.arrow").exists()


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"these are words", bytes(5000), b"\xff" * 5000])
def test_nothing_recoverable_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hopeless.arrow").write_bytes(content)
    with pytest.raises(CorruptError, match="nothing can be recovered"):
        repaired(tmp_path / "hopeless.arrow", tmp_path / "repaired.arrow")
    assert os.listdir(tmp_path) == ["hopeless.arrow"]


def test_neither_directories_nor_pipes_nor_nothing_can_be_repaired(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, expected in (("", ValueError), ("pipe", SpillError), ("gone", FileNotFoundError)):
        with pytest.raises(expected):
            repaired(tmp_path / name, tmp_path / "repaired.arrow")


def test_a_sound_file_loses_nothing(tmp_path: Path, sound: Anatomy) -> None:
    report = salvage(str(tmp_path / "sound.arrow"))
    assert (report.lost_parts, report.losses, report.row_count, report.alignment) == ((), (), 8, 64)
    assert report.as_dict()["is_complete"] is True


def test_progress_counts_what_is_read_and_what_is_written(tmp_path: Path) -> None:
    with SpillWriter(tmp_path / "a.arrow", flat_batch(1).schema, 2) as writer:
        for number in range(40):
            writer.write(0, flat_batch(10_000, number))
    sound = Anatomy.of(tmp_path / "a.arrow")
    (tmp_path / "a.arrow").write_bytes(index_and_footer_lost(sound))
    counts: list[int] = []
    repaired(tmp_path / "a.arrow", tmp_path / "repaired.arrow", progress=counts.append)
    assert sum(counts) == 2 * (sound.marker - sound.offsets[0])
    assert max(counts) < 1 << 20


def test_a_repaired_cut_file_reads_where_the_cut_one_does_not(tmp_path: Path, sound: Anatomy) -> None:
    (tmp_path / "cut.arrow").write_bytes(sound.raw[: sound.marker])
    with pytest.raises(TruncatedError, match="shuffle repair"):
        SpillFile(tmp_path / "cut.arrow")
    repaired(tmp_path / "cut.arrow", tmp_path / "repaired.arrow")
    assert read_everything(tmp_path / "repaired.arrow").column("n").to_pylist() == list(range(8))
