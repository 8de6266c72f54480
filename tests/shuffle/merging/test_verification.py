"""Rereading a target: whatever byte is wrong is found, with its place, by checksums or by the sources' bytes."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c

from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy import gather
from shuffle.merging.copy.job import Target
from shuffle.merging.verification import verify_target
from shuffle.testing.opaque import OpaqueSources
from spill_format import ChecksumError
from spill_format.range_checksums import CRC32C, RangeChecksums

LENGTHS = [[3000, 0, 1, 70_000], [500, 0, 9, 30_000]]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpaqueSources:
    """With windows that are smaller than the ranges."""
    monkeypatch.setattr(gather, "LARGEST_WINDOW_BYTES", 777)
    return OpaqueSources(tmp_path, LENGTHS, 100)


def checksums_of(sources: OpaqueSources) -> RangeChecksums:
    borders = (sources.plan.target_offsets - sources.plan.start).tolist()
    values = [crc32c(sources.merged[start:stop]) for start, stop in itertools.pairwise(borders)]
    return RangeChecksums(CRC32C, np.array(values, dtype=np.uint32))


Verify = Callable[[], None]


@pytest.fixture(params=["checksums", "bytes"])
def verify(request: pytest.FixtureRequest, sources: OpaqueSources) -> Iterator[Verify]:
    """Verify the target, which is right, unless the test makes it wrong."""
    checksums = checksums_of(sources) if request.param == "checksums" else None
    path = sources.directory / "target"
    path.write_bytes(bytes(sources.plan.start) + sources.merged + b"what is behind is not looked at")
    with path.open("r+b") as file:
        target = Target(file.fileno(), str(path))
        yield lambda: verify_target(target, sources.plan, sources.sources, SystemKernel(), checksums)


def test_a_target_that_is_right_passes(verify: Verify) -> None:
    verify()


# The first and last byte of each partition, and some within.
@pytest.mark.parametrize(
    ("place", "partition"),
    [(0, 0), (3499, 0), (3500, 2), (3509, 2), (3510, 3), (4321, 3), (73_509, 3), (73_510, 3), (103_509, 3)],
)
@pytest.mark.parametrize("wrong", [1, 512, 4096], ids=lambda count: f"{count} bytes")
def test_zeroes_in_place_of_bytes_are_found_with_their_partition(
    sources: OpaqueSources, verify: Verify, place: int, partition: int, wrong: int, request: pytest.FixtureRequest
) -> None:
    start, path = sources.plan.start, sources.directory / "target"
    with path.open("r+b") as file:
        file.seek(start + place)
        file.write(bytes(wrong))
    with pytest.raises(ChecksumError) as raised:
        verify()
    assert (raised.value.path, raised.value.partition) == (str(path), partition)
    by_bytes = "bytes" in request.node.callspec.params.values()
    expected = start + place if by_bytes else int(sources.plan.target_offsets[partition])
    assert raised.value.offset == expected
    assert raised.value.expected != raised.value.actual


@pytest.mark.parametrize("size", [0, 100, 101, 3600, 50_000, 103_609])
def test_a_target_that_ends_too_early_is_wrong(sources: OpaqueSources, verify: Verify, size: int) -> None:
    os.truncate(sources.directory / "target", size)
    with pytest.raises(ChecksumError) as raised:
        verify()
    assert raised.value.partition == sources.plan.partition_at(max(size, sources.plan.start))


def test_a_target_that_cannot_be_read_is_named(sources: OpaqueSources) -> None:
    descriptor = os.open(sources.directory, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError, match=r"reading back at offset 100.*the target") as raised:
            verify_target(
                Target(descriptor, "the target"), sources.plan, sources.sources, SystemKernel(), checksums_of(sources)
            )
    finally:
        os.close(descriptor)
    assert raised.value.errno == errno.EISDIR


def test_a_target_of_nothing_is_right(tmp_path: Path) -> None:
    sources = OpaqueSources(tmp_path, [[0, 0]])
    with (tmp_path / "target").open("w+b") as file:
        for checksums in (None, RangeChecksums(CRC32C, np.zeros(2, dtype=np.uint32))):
            verify_target(Target(file.fileno(), "target"), sources.plan, sources.sources, SystemKernel(), checksums)
