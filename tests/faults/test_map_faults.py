"""Map tasks whose disk does not keep the bytes that it is given, or takes no more of them."""

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest

from shuffle import HashPartitioner
from shuffle.report import MapReport
from spill_format import ChecksumError, SpillError, SpillFile
from tests.helpers.map_outputs import MIB, SCHEMA, rows_of, write_all

PARTITIONER = HashPartitioner(["key"], 4)
LARGE_ROW = pa.record_batch([[1], [0], ["x" * (3 * MIB)]], SCHEMA)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the target goes; a test leaves nothing else there."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    return directory / "map.arrow"


Way = tuple[pa.RecordBatch, int]
WAYS: dict[str, Way] = {"rows in memory": (rows_of(1000), 64 * MIB), "the only spill": (LARGE_ROW, MIB)}


@contextmanager
def a_disk_that_keeps(wrong: bytes, place: int, directory: Path) -> Iterator[None]:
    """At this place of all files in a directory, unnamed ones too, whatever this thread writes there."""

    def observed(_frame: FrameType, event: str, called: object) -> None:
        if event != "c_return" or called is not os.writev:
            return
        for number in map(int, os.listdir("/proc/self/fd")):
            path = f"/proc/self/fd/{number}"
            if os.path.lexists(path) and os.readlink(path).startswith(f"{directory}/") and os.fstat(number).st_size:
                os.pwrite(number, wrong, place)

    sys.setprofile(observed)
    try:
        yield
    finally:
        sys.setprofile(None)


def write(target: Path, way: Way, *, verify: bool) -> MapReport:
    batch, memory_bytes = way
    report, _ = write_all(target, [batch], PARTITIONER, memory_bytes=memory_bytes, threads=1, verify=verify)
    return report


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_the_disk_keeps_passes_verification(target: Path, way: Way) -> None:
    report = write(target, way, verify=True)
    assert report.merge is None
    with SpillFile(target) as output:
        output.verify()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("place", ["schema", "range", "index", "footer"])
def test_what_the_disk_changed_is_found_before_it_is_published(target: Path, way: Way, place: str) -> None:
    write(target, way, verify=False)
    with SpillFile(target) as output:
        layout = output.layout
    offsets = layout.offsets.tolist()
    (partition, *_) = layout.lengths.nonzero()[0].tolist()
    content = target.read_bytes()
    places = {"schema": 30, "range": offsets[partition] + 1000, "index": offsets[-1] + 100, "footer": len(content) - 30}
    change = bytes([content[places[place]] ^ 1]), places[place], target.parent
    target.unlink()

    with a_disk_that_keeps(*change):
        write(target, way, verify=False)
    assert target.exists()
    target.unlink()
    with pytest.raises(SpillError, match=f"{target}") as caught, a_disk_that_keeps(*change):
        write(target, way, verify=True)
    assert os.listdir(target.parent) == []
    if place == "range":
        assert isinstance(caught.value, ChecksumError)
        assert caught.value.partition == partition
        assert "does not keep what it is given" in str(caught.value)


# --- errors of writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "options", "named"),
    [
        ("rows in memory", {}, "map.arrow"),
        ("the only spill", {}, ""),
        ("the only spill", {"keep_spills": True}, "map-00000.spill.arrow"),
    ],
)
def test_an_error_of_writing_says_where(target: Path, way: str, options: dict[str, Any], named: str) -> None:
    batch, memory_bytes = WAYS[way]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_all(target, [batch], PARTITIONER, memory_bytes=memory_bytes, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(target.parent / named)
    assert os.listdir(target.parent) == []
