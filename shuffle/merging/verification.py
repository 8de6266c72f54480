"""Rereading what was copied before it is published: all that notices a kernel which returns success and zeroes.

Where the sources recorded checksums, the target's ranges are compared with what they combine to; elsewhere with the
sources' bytes themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from shuffle.machine.kernel import Kernel
from shuffle.merging.copy.gather import assembled_windows
from shuffle.merging.copy.job import CopyJob, Target
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import Source, SourceDescriptors, descriptor_limit
from spill_format.errors import ChecksumError
from spill_format.layout import Int64Array, PartitionLayout
from spill_format.range_checksums import CRC32C, RangeChecksums
from spill_format.storage.publication import PendingFile
from spill_format.structure import read_structure

_BUFFER_BYTES = 1 << 20
_OWN_ADVICE = "nothing was published; the disk or the memory does not keep what it is given"
_ADVICE = "`shuffle verify` of the sources tells which of them is damaged"


def verify_target(
    target: Target,
    plan: MergePlan,
    sources: Sequence[Source],
    kernel: Kernel,
    checksums: RangeChecksums | None = None,
) -> None:
    """Check the bytes of the target's ranges: by their checksums if given, else by the sources' bytes.

    Raises:
        ChecksumError: they are not those of the sources; it names the partition and the place.
    """
    if checksums is not None:
        verify_checksums(target, plan.target_offsets, checksums)
        return
    with SourceDescriptors(sources, descriptor_limit(1)) as descriptors:
        _compare_bytes(CopyJob(kernel, plan, descriptors, target))


def verify_checksums(
    target: Target, target_offsets: Int64Array, checksums: RangeChecksums, advice: str = _ADVICE
) -> None:
    """Check the bytes of the target's ranges, between its offsets, by their checksums; ``advice`` is the error's.

    Raises:
        ChecksumError: as for ``verify_target``.
    """
    algorithm = checksums.algorithm
    offsets = target_offsets.tolist()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    for partition, recorded in enumerate(checksums.values.tolist()):
        start, stop = offsets[partition], offsets[partition + 1]
        computed, position = algorithm.of_nothing, start
        while position < stop:
            copied = _read_back(target, buffer[: min(stop - position, _BUFFER_BYTES)], position)
            if not copied:
                break  # cut short: the checksum will tell
            computed = algorithm.update(copied, computed)
            position += len(copied)
        if computed != recorded:
            raise ChecksumError(
                f"{algorithm.name} of the {stop - start} bytes written",
                path=target.path,
                partition=partition,
                offset=start,
                expected=f"{recorded:08x}",
                actual=f"{computed:08x}",
                advice=advice,
            )


def verify_content(target: Target, pieces: Iterable[bytes | memoryview], offset: int) -> None:
    """Check that the target's bytes from an offset on are these pieces, one behind the other.

    Raises:
        ChecksumError: they are not; it names the place.
    """
    for piece in pieces:
        expected = memoryview(piece)
        found = _read_back(target, memoryview(bytearray(len(expected))), offset)
        if found != expected:
            differ = (place for place, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1])
            place = next(differ, len(found))
            raise ChecksumError(
                "what was written around the ranges is not there",
                path=target.path,
                offset=offset + place,
                expected=expected[place : place + 8].hex(" "),
                actual=found[place : place + 8].hex(" ") or "none",
                advice=_OWN_ADVICE,
            )
        offset += len(expected)


def _compare_bytes(job: CopyJob) -> None:
    """Read the sources once more and compare, window by window."""
    for window in assembled_windows(job, job.plan.start, job.plan.stop):
        expected = np.frombuffer(window.content, dtype=np.uint8)
        copied = _read_back(job.target, job.buffer("copied", len(expected)), window.position)
        actual = np.frombuffer(copied, dtype=np.uint8)
        if len(actual) < len(expected) or not np.array_equal(actual, expected):
            common = min(len(actual), len(expected))
            different = np.flatnonzero(actual[:common] != expected[:common])
            place = int(different[0]) if len(different) else common
            raise ChecksumError(
                "the byte copied differs from the source's",
                path=job.target.path,
                partition=job.plan.partition_at(window.position + place),
                offset=window.position + place,
                expected=f"{expected[place]:02x}",
                actual=f"{actual[place]:02x}" if place < len(actual) else "none",
                advice="the source was changed meanwhile, or the disk does not keep what it is given",
            )


def verify_written(file: PendingFile, layout: PartitionLayout) -> None:
    """Read a whole Arrow file again, before it is published: what describes it, and each range by its checksum.

    Args:
        file: complete.
        layout: what was written.

    Raises:
        SpillError: it is not what was written.
        OSError: it cannot be read.
    """
    target = Target(file.descriptor, str(file.path))
    found = read_structure(*target).index.layout
    for part in ("offsets", "rows", "crc32c"):
        if not np.array_equal(getattr(found, part), getattr(layout, part)):
            raise ChecksumError("the index read back is not the one written", path=target.path, advice=_OWN_ADVICE)
    assert layout.crc32c is not None  # an index always has them
    verify_checksums(target, layout.offsets, RangeChecksums(CRC32C, layout.crc32c), _OWN_ADVICE)


def _read_back(target: Target, buffer: memoryview, position: int) -> memoryview:
    """As many of the target's bytes as fill ``buffer``, or as there are from ``position`` on."""
    filled = 0
    while filled < len(buffer):
        try:
            count = os.preadv(target.descriptor, [buffer[filled:]], position + filled)
        except OSError as error:
            problem = f"{error.strerror}: reading back at offset {position + filled}"
            raise OSError(error.errno, problem, target.path) from error
        if count == 0:
            break
        filled += count
    return buffer[:filled]
