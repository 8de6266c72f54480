"""What is whole of merged partitions is written anew; the damaged files stay as they are."""

import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from shuffle.inspecting.pushed_repair import PushedRepair
from shuffle.inspecting.repair import repair
from spill_format import CorruptError, TargetExistsError
from spill_format.spark.pushed import encode_meta, read_pushed
from tests.helpers.commands import files_below
from tests.helpers.inspections import repaired_pushed
from tests.helpers.spark_files import write_pushed

CHUNKS = [([0, 2], b"of two maps"), ([5], b"of one"), ([3, 4], b"and of two"), ([9], b"the last")]  # 11, 17, 27, 35


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "pushed").mkdir()
    return write_pushed(tmp_path / "pushed" / "shuffleMerged_app-1_0_0_7.data", CHUNKS)


def assert_chunks(data: Path, numbers: Sequence[int]) -> None:
    """A sound partition of these of ``CHUNKS``."""
    pushed = read_pushed(data)
    assert [(list(maps), pushed.read(number)) for number, maps in enumerate(pushed.maps)] == [
        CHUNKS[number] for number in numbers
    ]


def meta_of_a_map_twice(data: Path) -> None:
    data.with_suffix(".meta").write_bytes(encode_meta([[0, 2], [2, 5], [3, 4], [9]]))


def meta_of_no_map(data: Path) -> None:
    data.with_suffix(".meta").write_bytes(encode_meta([[], [5], [], [9]]))


@pytest.mark.parametrize(
    ("damage", "kept", "lost_maps"),
    [
        (lambda data: os.truncate(data, 30), [0, 1, 2], (9,)),
        (lambda data: os.truncate(data, 17), [0, 1], (3, 4, 9)),
        (lambda data: os.truncate(data.with_suffix(".index"), 8 * 3), [0, 1], (3, 4, 9)),
        (lambda data: os.truncate(data.with_suffix(".meta"), 30), [0], ()),  # whose maps nobody knows any more
        (meta_of_a_map_twice, [0, 2, 3], (5,)),  # the first counts
        (meta_of_no_map, [1, 3], ()),
    ],
)
def test_every_whole_chunk_is_kept_and_the_damaged_files_are_not_touched(
    data: Path, tmp_path: Path, damage: Callable[[Path], object], kept: list[int], lost_maps: tuple[int, ...]
) -> None:
    damage(data)
    before = files_below(data.parent)
    repaired = repaired_pushed(data, tmp_path / "repaired.data")

    assert_chunks(tmp_path / "repaired.data", kept)
    assert repaired.lost_chunks == tuple(number for number in range(4) if number not in kept)
    assert (repaired.chunk_count, repaired.lost_maps, repaired.is_complete) == (len(kept), lost_maps, False)
    assert files_below(data.parent) == before


@pytest.mark.parametrize("size", range(36))
def test_of_data_cut_off_anywhere_the_chunks_before_the_cut_are_kept(data: Path, tmp_path: Path, size: int) -> None:
    os.truncate(data, size)
    if size < 11:
        with pytest.raises(CorruptError, match="nothing can be recovered: no chunk is whole"):
            repair(data, tmp_path / "repaired.data")
        assert os.listdir(tmp_path) == ["pushed"]
        return
    repair(data, tmp_path / "repaired.data")

    assert_chunks(tmp_path / "repaired.data", range(bisect_right([11, 17, 27, 35], size)))


def test_what_belongs_to_no_chunk_is_no_loss(data: Path, tmp_path: Path) -> None:
    with data.open("ab") as file:
        file.write(b"a block that was being appended")
    repaired = repaired_pushed(data, tmp_path / "repaired.data")

    assert repaired.is_complete
    assert "size of the data" in repaired.problems[0]
    assert_chunks(tmp_path / "repaired.data", range(4))


def test_a_partition_that_nothing_was_pushed_to_is_repaired(tmp_path: Path) -> None:
    repaired = repaired_pushed(write_pushed(tmp_path / "a.data", []), tmp_path / "repaired.data")

    assert (repaired.is_complete, read_pushed(tmp_path / "repaired.data").chunk_count) == (True, 0)


def as_it_is(path: Path) -> Path:
    return path


def by_a_link(path: Path) -> Path:
    (path.parent / "link.data").symlink_to(path)
    return path.parent / "link.data"


def by_a_second_name(path: Path) -> Path:
    os.link(path, path.parent / "second.data")
    return path.parent / "second.data"


def by_its_bitmaps(path: Path) -> Path:
    (path.parent / "other.meta").symlink_to(path.with_suffix(".meta"))
    return path.parent / "other.data"


@pytest.mark.parametrize("name_of", [as_it_is, by_a_link, by_a_second_name, by_its_bitmaps])
def test_a_file_is_never_repaired_in_place(data: Path, name_of: Callable[[Path], Path]) -> None:
    target = name_of(data)
    before = files_below(data.parent)
    with pytest.raises(TargetExistsError, match="never repaired in place"):
        repair(data, target, overwrite=True)

    assert files_below(data.parent) == before


def test_an_existing_target_is_kept_unless_told(data: Path, tmp_path: Path) -> None:
    target = write_pushed(tmp_path / "repaired.data", [([1], b"another")])
    with pytest.raises(TargetExistsError):
        repair(data, target)
    assert read_pushed(target).read(0) == b"another"

    repair(data, target, overwrite=True, durable=True)
    assert_chunks(target, range(4))


@pytest.mark.parametrize("name", ["repaired", "repaired.index"])
def test_a_target_that_is_no_data_file_is_a_wrong_argument(data: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"ends with \.data"):
        repair(data, tmp_path / name)
    assert os.listdir(tmp_path) == ["pushed"]


class TestDirectories:
    @pytest.fixture
    def home(self, data: Path) -> Path:
        """Four partitions: 7 is sound, 8 is cut off, of 9 nothing is whole, of 10 bitmaps are in another place."""
        for number, size in ((8, 20), (9, 5)):
            os.truncate(write_pushed(data.with_name(f"shuffleMerged_app-1_0_0_{number}.data"), CHUNKS), size)
        (data.parent / "3f").mkdir()
        shutil.move(
            write_pushed(data.with_name("shuffleMerged_app-1_0_0_10.data"), CHUNKS).with_suffix(".meta"),
            data.parent / "3f",
        )
        return data.parent

    def test_all_that_have_something_whole_are_there_afterwards(self, home: Path, tmp_path: Path) -> None:
        (tmp_path / "repaired").mkdir()
        before = files_below(home)
        repairs = repair(home, tmp_path / "repaired")

        kept_chunks = [each for each in repairs.files if isinstance(each, PushedRepair)]
        assert [(each.is_complete, each.chunk_count) for each in kept_chunks] == [
            (True, 4),
            (False, 2),
            (False, 0),
            (True, 4),
        ]
        assert kept_chunks[2].target is None
        for number, kept in ((7, range(4)), (8, range(2)), (10, range(4))):
            assert_chunks(tmp_path / "repaired" / f"shuffleMerged_app-1_0_0_{number}.data", kept)
        assert len(os.listdir(tmp_path / "repaired")) == 9
        assert files_below(home) == before

    def test_nothing_is_written_where_a_target_exists(self, home: Path, tmp_path: Path) -> None:
        (tmp_path / "repaired").mkdir()
        (tmp_path / "repaired" / "shuffleMerged_app-1_0_0_10.data").touch()
        with pytest.raises(TargetExistsError, match=r"0_10\.data"):
            repair(home, tmp_path / "repaired")

        assert len(os.listdir(tmp_path / "repaired")) == 1

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_directory_is_never_repaired_into_itself(self, home: Path, overwrite: bool) -> None:
        before = files_below(home)
        with pytest.raises(TargetExistsError, match="never repaired in place"):
            repair(home, home, overwrite=overwrite)

        assert files_below(home) == before

    def test_nothing_whole_at_all_is_an_error(self, home: Path, tmp_path: Path) -> None:
        (tmp_path / "repaired").mkdir()
        for path in home.glob("*.meta"):
            path.unlink()
        shutil.rmtree(home / "3f")
        with pytest.raises(CorruptError, match="nothing can be recovered of any of 4 files"):
            repair(home, tmp_path / "repaired")

        assert os.listdir(tmp_path / "repaired") == []
