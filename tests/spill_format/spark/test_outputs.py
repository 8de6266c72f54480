"""Spark's triple is read as it is written, and each way in which it can be wrong has a message of its own."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle.testing import write_output
from spill_format import CorruptError, SpillError, TruncatedError
from spill_format.spark.outputs import paths_beside, read_output
from tests.helpers.spark_files import FUNCTIONS, assert_spark_output, checksum_file, write_spark

RANGES = [b"abc", b"", b"defghij"]


@pytest.mark.parametrize("algorithm", [*FUNCTIONS, None])
@pytest.mark.parametrize(
    "ranges", [RANGES, [b"one of everything"], [b"", b"x"]], ids=["usual", "one partition", "first empty"]
)
def test_what_is_written_is_sparks_layout_and_is_read_back(
    tmp_path: Path, ranges: list[bytes], algorithm: str | None
) -> None:
    data = tmp_path / "shuffle_0_0_0.data"
    layout = write_output(data, ranges, algorithm=algorithm)

    assert_spark_output(data, ranges, algorithm)
    written = read_output(paths_beside(data))
    assert written.layout.offsets.tolist() == layout.offsets.tolist()
    assert written.layout.lengths.tolist() == [len(each) for each in ranges]
    assert written.layout.rows is None
    if algorithm is not None:
        assert written.checksums is not None
        assert written.checksums.algorithm.name == algorithm
        assert written.checksums.values.tolist() == [FUNCTIONS[algorithm](each) for each in ranges]


def test_an_output_of_empty_partitions_needs_no_data_file(tmp_path: Path) -> None:
    output = read_output(paths_beside(write_spark(tmp_path / "a.data", [b"", b""], None)))

    assert output.layout.offsets.tolist() == [0, 0, 0]
    assert output.status is None


def index_of(*offsets: int) -> bytes:
    return struct.pack(f">{len(offsets)}q", *offsets)


BEYOND = 2**32
DEFECTS: dict[str, tuple[str, bytes | None, type[SpillError], str]] = {
    # the file that is changed, its content, the error, what it says
    "index of no offsets": (".index", b"", TruncatedError, "length of the index"),
    "index of one offset": (".index", index_of(0), TruncatedError, "length of the index"),
    "index cut within an offset": (".index", index_of(0, 3, 3, 10)[:-3], TruncatedError, "length of the index"),
    "first offset not 0": (".index", index_of(1, 3, 3, 10), CorruptError, "the first offset of the index"),
    "offsets that decrease": (".index", index_of(0, 5, 3, 10), CorruptError, "the range ends before it starts"),
    "offsets beyond 63 bits": (".index", index_of(0, 3, -(2**63), 10), CorruptError, "the range ends before"),
    "data longer than the index": (".index", index_of(0, 3, 3, 9), CorruptError, "size of the data file"),
    "data shorter than the index": (".index", index_of(0, 3, 3, 11), TruncatedError, "size of the data file"),
    "no index": (".index", None, CorruptError, "data without an index"),
    "no data": (".data", None, TruncatedError, "the index has no data file"),
    "data cut short": (".data", b"abcdefghi", TruncatedError, "size of the data file"),
    "offsets that wrap around": (".index", index_of(0, 2**63 - 1, -2, 10), CorruptError, "the range ends before it"),
    "offsets beyond any file": (".index", index_of(0, 3, 3, 2**63 - 1), TruncatedError, "size of the data file"),
    "checksums cut short": (
        ".checksum.ADLER32",
        index_of(1, 1),
        TruncatedError,
        "bytes for the checksums of 3 partitions",
    ),
    "no checksums": (".checksum.ADLER32", b"", TruncatedError, "checksums of 3 partitions"),
    "half a checksum more": (".checksum.ADLER32", index_of(1, 1, 1) + bytes(4), CorruptError, "checksums of 3"),
    "too many checksums": (".checksum.ADLER32", index_of(1, 1, 1, 1), CorruptError, "checksums of 3 partitions"),
    "checksum of 33 bits": (".checksum.ADLER32", index_of(1, BEYOND, 1), CorruptError, "a number that is no checksum"),
    "negative checksum": (".checksum.ADLER32", index_of(1, -1, 1), CorruptError, "a number that is no checksum"),
}


@pytest.mark.parametrize(("suffix", "content", "kind", "problem"), DEFECTS.values(), ids=DEFECTS)
def test_every_defect_has_its_own_error(
    tmp_path: Path, suffix: str, content: bytes | None, kind: type[SpillError], problem: str
) -> None:
    data = write_spark(tmp_path / "a.data", RANGES)
    paths = paths_beside(data)
    if content is None:
        data.with_suffix(suffix).unlink()
    else:
        data.with_suffix(suffix).write_bytes(content)

    with pytest.raises(SpillError, match=problem) as caught:
        read_output(paths)
    assert type(caught.value) is kind
    assert str(tmp_path / "a.") in str(caught.value)


def test_defects_that_concern_a_partition_name_it(tmp_path: Path) -> None:
    data = write_spark(tmp_path / "a.data", RANGES)
    data.with_suffix(".index").write_bytes(index_of(0, 5, 3, 10))
    with pytest.raises(CorruptError) as caught:
        read_output(paths_beside(data))

    assert (caught.value.partition, caught.value.offset, caught.value.actual) == (1, 16, 3)


def test_checksums_of_an_unknown_algorithm_are_no_checksums(tmp_path: Path) -> None:
    data = write_spark(tmp_path / "a.data", RANGES, None)
    checksum_file(data, "MD5").write_bytes(bytes(24))

    assert read_output(paths_beside(data)).checksums is None


def test_nothing_at_all_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither data nor index"):
        read_output(paths_beside(tmp_path / "a.data"))


@pytest.mark.parametrize("name", ["a.index", "a", "a.data.tmp"])
def test_a_name_that_is_not_of_a_data_file_is_a_wrong_argument(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"ends with \.data"):
        write_output(tmp_path / name, RANGES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".data", ".index", ".checksum.ADLER32"])
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (os.mkfifo, SpillError),  # nobody waits for its writer
        (lambda path: os.symlink("/dev/zero", path), SpillError),  # nor reads for ever
        (lambda path: path.mkdir(), IsADirectoryError),
        (lambda path: os.symlink(path.name, path), OSError),  # a link to itself
    ],
    ids=["pipe", "device", "directory", "endless link"],
)
def test_what_is_no_file_is_refused_by_its_name(
    tmp_path: Path, suffix: str, make: Callable[[Path], None], error: type[Exception]
) -> None:
    path = write_spark(tmp_path / "a.data", RANGES).with_suffix(suffix)
    path.unlink()
    make(path)
    with pytest.raises(error) as caught:
        read_output(paths_beside(tmp_path / "a.data"))

    assert not isinstance(caught.value, CorruptError)
    assert str(path) in str(caught.value)


def test_files_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    data = write_spark(tmp_path / "disk" / "a.data", RANGES)
    for file in (data, data.with_suffix(".index"), checksum_file(data)):
        (tmp_path / file.name).symlink_to(file)

    assert read_output(paths_beside(tmp_path / "a.data")).layout.lengths.tolist() == [3, 0, 7]


def test_an_unknown_algorithm_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not of 'MD5'"):
        write_output(tmp_path / "a.data", RANGES, algorithm="MD5")
    assert list(tmp_path.iterdir()) == []


def test_no_partitions_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one partition or more"):
        write_output(tmp_path / "a.data", [])
    assert list(tmp_path.iterdir()) == []
