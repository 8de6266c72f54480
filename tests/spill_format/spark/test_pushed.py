"""Files of the push-based layout: read as they are written, each defect told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spill_format import CorruptError, SpillError, TruncatedError
from spill_format.spark.pushed import cut_chunks, encode_meta, read_pushed
from spill_format.spark.pushed_scan import meta_path_of
from tests.helpers.spark_files import write_pushed

CHUNKS = [([0, 2, 70_000], b"blocks of three maps"), (list(range(100, 107)), b"of many"), ([3], b"and of one")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pushed(tmp_path / "shuffleMerged_app-1_0_0_7.data", CHUNKS)


def test_chunks_and_their_maps_are_read(data: Path) -> None:
    pushed = read_pushed(data)

    assert pushed.chunk_count == 3
    assert [list(maps) for maps in pushed.maps] == [maps for maps, _ in CHUNKS]
    assert [pushed.read(chunk) for chunk in range(3)] == [content for _, content in CHUNKS]
    assert encode_meta(pushed.maps) == data.with_suffix(".meta").read_bytes()
    with pytest.raises(IndexError, match="there are 3"):
        pushed.read(3)


@pytest.mark.parametrize(
    ("lengths", "minimum_bytes", "ends"),
    [
        ([10, 0, 20], 100, [3]),
        ([10, 0, 20], 1, [1, 3]),
        ([10, 5, 20, 1], 15, [2, 3, 4]),
        ([100], 100, [1]),
        ([], 1, []),
    ],
)
def test_a_chunk_ends_as_soon_as_it_is_large_enough(lengths: list[int], minimum_bytes: int, ends: list[int]) -> None:
    assert cut_chunks(np.array(lengths, dtype=np.int64), minimum_bytes) == ends


@pytest.mark.parametrize(
    ("suffix", "change", "kind", "problem"),
    [
        (".data", lambda content: content[:-1], TruncatedError, "size of the data"),
        (".data", lambda content: content + b"x", CorruptError, "size of the data"),
        (".index", lambda content: content[:-8], CorruptError, "number of bitmaps, one for each chunk"),
        (".index", lambda content: content[:-3], TruncatedError, "length of the index"),
        (".meta", lambda content: content[:-1], TruncatedError, "the bitmap of chunk 2 is cut off"),
        (".meta", lambda content: content + b"\xff" * 9, TruncatedError, "the bitmap of chunk 3 is cut off or damaged"),
    ],
)
def test_every_defect_has_its_own_error(
    data: Path, suffix: str, change: Callable[[bytes], bytes], kind: type[SpillError], problem: str
) -> None:
    file = data.with_suffix(suffix)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(SpillError, match=problem) as caught:
        read_pushed(data)

    assert type(caught.value) is kind


def test_the_names_of_companions_follow_from_the_datas(tmp_path: Path) -> None:
    assert meta_path_of(tmp_path / "a.data") == str(tmp_path / "a.meta")
    with pytest.raises(ValueError, match=r"ends with \.data"):
        meta_path_of("a.meta")
