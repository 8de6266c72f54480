"""What is damaged in a merged partition is told chunk by chunk, and no hostile file is believed."""

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pyroaring
import pytest

from spill_format import CorruptError, SpillError, TruncatedError
from spill_format.spark.pushed import read_pushed
from spill_format.spark.pushed_scan import PushedPaths, pushed_paths_beside, scan_pushed
from tests.helpers.spark_files import write_pushed

CHUNKS = [([0, 2, 70_000], b"blocks of three maps"), ([5], b"of one"), ([3, 4], b"and of two")]  # ends: 20, 26, 36


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pushed(tmp_path / "shuffleMerged_app-1_0_0_7.data", CHUNKS)


def index_of(*offsets: int) -> bytes:
    return struct.pack(f">{len(offsets)}q", *offsets)


def meta_of(*chunks: Sequence[int]) -> bytes:
    return b"".join(pyroaring.BitMap(maps).serialize() for maps in chunks)


def a_bitmap_of_all_numbers() -> bytes:
    """4,294,967,296 of them in less than 1 MB."""
    everything = pyroaring.BitMap()
    everything.add_range(0, 2**32)
    everything.run_optimize()
    return bytes(everything.serialize())


DAMAGES: dict[str, tuple[str, bytes | None, list[int], int, type[SpillError], str]] = {
    # the file that is changed, its content, damaged chunks, sound ones before the first, the first error
    "no index": (".index", None, [0, 1, 2], 0, CorruptError, "there is no index"),
    "empty index": (".index", b"", [0, 1, 2], 0, TruncatedError, "length of the index"),
    "index cut within an offset": (".index", index_of(0, 20, 26, 36)[:-3], [2], 2, TruncatedError, "length of the"),
    "an offset missing": (".index", index_of(0, 20, 26), [2], 2, CorruptError, "number of bitmaps, one for each chunk"),
    "an offset too many": (".index", index_of(0, 20, 26, 36, 36), [3], 3, CorruptError, "number of bitmaps, one for"),
    "first offset not 0": (".index", index_of(1, 20, 26, 36), [0, 1, 2], 0, CorruptError, "the first offset"),
    "offsets that decrease": (".index", index_of(0, 20, 10, 36), [1, 2], 1, CorruptError, "chunk 1 ends before it"),
    "offsets that wrap": (".index", index_of(0, 20, 2**63 - 1, -(2**63)), [1, 2], 1, CorruptError, "chunk 2 ends"),
    "offset beyond the data": (".index", index_of(0, 20, 26, 2**63 - 1), [2], 2, TruncatedError, "size of the data"),
    "no bitmaps": (".meta", None, [0, 1, 2], 0, CorruptError, "there is no file of bitmaps"),
    "bitmap cut off": (".meta", meta_of([0], [5])[:-1], [1, 2], 1, TruncatedError, "bitmap of chunk 1 is cut off"),
    "bitmap of nothing": (".meta", meta_of([0], [], [3]), [1], 1, CorruptError, "chunk 1 of 6 bytes cannot have 0"),
    "more maps than bytes": (".meta", meta_of([0], range(7), [9]), [1], 1, CorruptError, "cannot have 7 maps"),
    "a map in two chunks": (".meta", meta_of([0], [5], [6, 5]), [2], 2, CorruptError, "map 5 of chunk 2 is in an"),
    "no data": (".data", None, [0, 1, 2], 0, TruncatedError, "the index has no data file"),
    "data cut short": (".data", b"blocks of three maps of", [1, 2], 1, TruncatedError, "size of the data"),
    "data of nobody": (".data", bytes(40), [], 3, CorruptError, "size of the data"),
}


@pytest.mark.parametrize(
    ("suffix", "content", "damaged", "sound_count", "kind", "problem"), DAMAGES.values(), ids=DAMAGES
)
def test_damaged_chunks_are_told_and_those_before_the_first_are_sound(
    data: Path,
    suffix: str,
    content: bytes | None,
    damaged: list[int],
    sound_count: int,
    kind: type[SpillError],
    problem: str,
) -> None:
    before = read_pushed(data)
    data.with_suffix(suffix).unlink()
    if content is not None:
        data.with_suffix(suffix).write_bytes(content)
    scan = scan_pushed(pushed_paths_beside(data))

    assert list(scan.damaged_chunks) == damaged
    assert scan.sound.chunk_count == sound_count
    assert scan.sound.offsets.tolist() == before.offsets[: sound_count + 1].tolist()
    assert type(scan.defects[0].error) is kind
    with pytest.raises(kind, match=problem):
        read_pushed(data)


def test_a_sound_partition_has_no_defects(data: Path) -> None:
    scan = scan_pushed(pushed_paths_beside(data))

    assert (scan.defects, scan.damaged_chunks, scan.chunk_count) == ((), (), 3)
    assert [list(maps) for maps in scan.sound.maps] == [maps for maps, _ in CHUNKS]


def test_maps_of_damaged_chunks_are_told(data: Path) -> None:
    os.truncate(data, 22)

    assert scan_pushed(pushed_paths_beside(data)).damaged_maps == (3, 4, 5)


def test_a_partition_that_nothing_was_pushed_to_is_sound(tmp_path: Path) -> None:
    data = write_pushed(tmp_path / "shuffleMerged_app-1_0_0_7.data", [])

    assert data.with_suffix(".index").read_bytes() == index_of(0)
    assert read_pushed(data).chunk_count == 0


def test_a_bitmap_of_billions_of_maps_is_refused_without_listing_them(data: Path) -> None:
    data.with_suffix(".meta").write_bytes(meta_of([0]) + a_bitmap_of_all_numbers() + meta_of([1]))
    scan = scan_pushed(pushed_paths_beside(data))

    assert list(scan.damaged_chunks) == [1]
    assert scan.damaged_maps == ()
    assert "cannot have 4294967296 maps" in str(scan.defects[0].error)


def test_nothing_at_all_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.data"):
        read_pushed(tmp_path / "a.data")


@pytest.mark.parametrize("suffix", [".data", ".index", ".meta"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, SpillError),
        (lambda path: os.symlink("/dev/zero", path), SpillError),
        (lambda path: path.mkdir(), IsADirectoryError),
    ],
    ids=["pipe", "device", "directory"],
)
def test_what_is_no_file_is_refused(
    data: Path, suffix: str, make: Callable[[Path], None], kind: type[Exception]
) -> None:
    path = data.with_suffix(suffix)
    path.unlink()
    make(path)
    with pytest.raises(kind, match=path.name) as caught:
        scan_pushed(pushed_paths_beside(data))

    assert not isinstance(caught.value, CorruptError)


def test_files_may_lie_apart(data: Path, tmp_path: Path) -> None:
    (tmp_path / "3f").mkdir()
    index = data.with_suffix(".index").rename(tmp_path / "3f" / "shuffleMerged_app-1_0_0_7.index")
    paths = PushedPaths(str(data), str(index), str(data.with_suffix(".meta")))

    assert read_pushed(paths).read(1) == b"of one"
