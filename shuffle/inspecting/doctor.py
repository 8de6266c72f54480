"""``shuffle.doctor``: what the kernel and the file system of a directory can do: tried, not guessed, and measured.

Files without a name are made there and gone afterwards; nothing is left even after a kill.
"""

from __future__ import annotations

import errno
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from shuffle.machine.cores import usable_cores
from shuffle.machine.file_systems import FileSystem, file_system_of, free_bytes
from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy.choice import Span, Surroundings, choose
from shuffle.merging.copy.job import CopyJob, Target
from shuffle.merging.copy.ladder import METHODS
from shuffle.merging.copy.workers import copy_spans
from shuffle.merging.plan import MergePlan, plan_merge
from shuffle.merging.sources import Source, SourceDescriptors, descriptor_limit
from shuffle.native import is_native
from shuffle.options import METHOD_NAMES, MergeOptions, MethodName
from spill_format.layout import PartitionLayout
from spill_format.storage.identity import FileIdentity
from spill_format.storage.publication import PendingFile, open_pending

SAMPLE_BYTES = 16 << 20  # a source's; large enough that opening files does not count
RANGE_BYTES = (1 << 10, 16 << 10, 128 << 10, 1 << 20)
_RANGE_COUNT = 4096  # a source's, at most: small ranges take long, and a few thousand tell as much
_SOURCE_COUNT = 4
_ROUNDS = 3
_IN_KERNEL: tuple[MethodName, ...] = ("clone", "copy_file_range", "sendfile")


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether something works here; if not, what the system answered."""

    works: bool
    answer: str


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast one method copies ranges of one size: MiB a second, the median of a few rounds."""

    method: str
    range_bytes: int
    mib_per_second: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``auto`` does with aligned ranges of one size, and which method was the fastest in this measurement."""

    range_bytes: int
    clean_sources: str
    fresh_sources: str
    fastest: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found out about a directory.

    Attributes:
        directory: as it was given.
        kernel: name and release.
        file_system, block_bytes, free_bytes: of the directory.
        unnamed_files: whether a file can be written without a name; where not, a kill can leave a temporary one behind.
        methods: whether the kernel copies between files of this directory, by method.
        descriptors: how many sources can be open at the same time.
        cores: that this process may run on.
        native: whether map tasks use compiled functions (``shuffle.native``).
        rates: every method with every range size.
        choices: of ``auto``, by range size.
    """

    directory: str
    kernel: str
    file_system: str
    block_bytes: int
    free_bytes: int
    unnamed_files: Trial
    methods: Mapping[MethodName, Trial]
    descriptors: int
    cores: int
    native: bool
    rates: tuple[Rate, ...]
    choices: tuple[Choice, ...]

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        chosen = ", ".join(dict.fromkeys(choice.clean_sources for choice in self.choices))
        shares = "shares blocks" if self.methods["clone"].works else "does not share blocks"
        return f"{self.directory}: {self.file_system} on {self.kernel}, which {shares}; a merge chooses {chosen}"


def doctor(directory: str | PathLike[str], *, progress: Callable[[int], None] = lambda _count: None) -> Diagnosis:
    """Try what the file system of a directory can do, and measure it. Takes a few seconds and 128 MiB of room.

    Args:
        directory: must be writable.
        progress: called with 1 after each of ``len(METHOD_NAMES) * len(RANGE_BYTES)`` measurements.

    Raises:
        OSError: the directory is missing, not writable or full.
    """
    directory = os.fspath(directory)
    with _scratch_file(directory) as scratch:
        system = file_system_of(scratch.descriptor)
        free = free_bytes(scratch.descriptor)
        unnamed = _try_unnamed(directory)
    with _sample(directory, RANGE_BYTES[-1]) as (plan, sources):
        trials = {method: _try(directory, plan, sources, method) for method in _IN_KERNEL}
    usable = [method for method in METHOD_NAMES if method not in trials or trials[method].works]
    rates = []
    for range_bytes in RANGE_BYTES:
        with _sample(directory, range_bytes) as (plan, sources):
            for method in METHOD_NAMES:
                if method in usable:
                    rate = _measure(directory, plan, sources, method)
                    rates.append(Rate(method, range_bytes, plan.byte_count / rate / 2**20))
                progress(1)
    return Diagnosis(
        directory=directory,
        kernel=SystemKernel().release,
        file_system=system.name,
        block_bytes=system.block_bytes,
        free_bytes=free,
        unnamed_files=unnamed,
        methods=trials,
        descriptors=descriptor_limit(1),
        cores=usable_cores(),
        native=is_native(),
        rates=tuple(rates),
        choices=tuple(_choice(range_bytes, system, trials["clone"].works, rates) for range_bytes in RANGE_BYTES),
    )


def _choice(range_bytes: int, system: FileSystem, shares_blocks: bool, rates: Sequence[Rate]) -> Choice:
    plan = plan_merge(_layouts(range_bytes))

    def chosen(*, dirty: bool) -> str:
        around = Surroundings(
            shares_blocks=shares_blocks,
            block_bytes=system.block_bytes,
            server_copies=system.remote,
            sources_dirty=dirty,
        )
        return choose(plan, MergeOptions(transfer_to="auto"), around)[0].ladder[0]

    here = [rate for rate in rates if rate.range_bytes == range_bytes]
    fastest = max(here, key=lambda rate: rate.mib_per_second).method
    return Choice(range_bytes, chosen(dirty=False), chosen(dirty=True), fastest)


def _try_unnamed(directory: str) -> Trial:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return Trial(False, "this system has none")
    try:
        os.close(os.open(directory, os.O_RDWR | flag))
    except OSError as error:
        return Trial(False, error.strerror or str(error))
    return Trial(True, "yes")


def _try(directory: str, plan: MergePlan, sources: Sequence[Source], method: MethodName) -> Trial:
    """Whether a method copies a whole plan by itself."""
    with _scratch_file(directory) as target, SourceDescriptors(sources, 1) as descriptors:
        job = CopyJob(SystemKernel(), plan, descriptors, Target(target.descriptor, directory))
        try:
            outcome = METHODS[method](job, plan.start, plan.stop)
        except OSError as error:
            return Trial(False, error.strerror or str(error))
    if outcome.obstacle is None:
        return Trial(True, "yes")
    name = errno.errorcode.get(outcome.obstacle.errno or 0, "no errno")
    return Trial(False, f"{name}: {outcome.obstacle.reason}")


def _measure(directory: str, plan: MergePlan, sources: Sequence[Source], method: MethodName) -> float:
    """Seconds to copy a plan with a method, the median of a few rounds."""
    seconds = []
    span = Span(plan.start, plan.stop, (method, "buffered"))
    for _ in range(_ROUNDS):
        with _scratch_file(directory) as target:
            started = time.perf_counter()
            copy_spans(
                [span],
                plan,
                sources,
                Target(target.descriptor, directory),
                threads=MergeOptions().threads,
                kernel=SystemKernel(),
            )
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


@contextmanager
def _sample(directory: str, range_bytes: int) -> Iterator[tuple[MergePlan, list[Source]]]:
    """A plan of ranges of one size, and its sources: files without a name, written back to the disk."""
    layouts = _layouts(range_bytes)
    content = np.random.default_rng(0).bytes(layouts[0].byte_count // 16)
    with ExitStack() as stack:
        sources = []
        for number, layout in enumerate(layouts):
            file = stack.enter_context(_scratch_file(directory))
            for offset in range(0, layout.byte_count, len(content)):
                _write(file, content, offset)
            os.fsync(file.descriptor)  # cloning would otherwise be measured with the writing back of its sources
            name = f"sample {number} in {directory}"
            sources.append(Source(name, layout, FileIdentity.of(os.fstat(file.descriptor)), borrowed=file.descriptor))
        yield plan_merge(layouts), sources


def _layouts(range_bytes: int) -> list[PartitionLayout]:
    sample_bytes = min(SAMPLE_BYTES, _RANGE_COUNT * range_bytes)
    offsets = np.arange(0, sample_bytes + 1, range_bytes, dtype=np.int64)
    return [PartitionLayout(offsets) for _ in range(_SOURCE_COUNT)]


def _write(file: PendingFile, content: bytes, offset: int) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(file.descriptor, content[written:], offset + written)


@contextmanager
def _scratch_file(directory: str) -> Iterator[PendingFile]:
    """A file that is never published."""
    with open_pending(Path(directory) / "shuffle-doctor") as pending:
        yield pending
