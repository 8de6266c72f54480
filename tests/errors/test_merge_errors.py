"""Errors of merging: which source, which range, what the kernel did, and what can be switched off."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from shuffle import HashPartitioner, MapOptions, MapWriter, MergeOptions, merge
from shuffle.merging.copy.ladder import copy_span
from shuffle.merging.verification import verify_target
from shuffle.testing import Always, Fail, Lie, ScriptedKernel, Step, Zero, Zeroes
from shuffle.testing.opaque import OpaqueSources
from spill_format import (
    ChecksumError,
    PositionError,
    TargetExistsError,
)
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.spills import random_spills

OTHER_SCHEMA = pa.schema([("key", pa.string()), ("text", pa.string())])


def spills_in(directory: Path) -> list[Path]:
    (directory / "spills").mkdir()
    return random_spills(directory / "spills", [10, 0, 30], [0, 20, 10], [5, 5, 5])


def merging(script: dict[str, list[Step]], **options: Any) -> Callable[[Path], object]:
    """What merges three spills with a kernel that misbehaves."""
    return lambda directory: merge(
        spills_in(directory),
        directory / "merged.arrow",
        MergeOptions(threads=1, **options),
        kernel=ScriptedKernel(script),
    )


def copy_without_end(directory: Path) -> None:
    with OpaqueSources(directory, [[10]]).job(ScriptedKernel({"sendfile": [Always(Zero())]})) as job:
        copy_span(job, ["sendfile"], job.plan.start, job.plan.stop)


def merge_beyond_a_limit(directory: Path) -> None:
    sources = spills_in(directory)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        merge(sources, directory / "merged.arrow")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def verify_wrong_target(directory: Path) -> None:
    sources = OpaqueSources(directory, [[10, 20]])
    with sources.job() as job:
        os.pwrite(job.target.descriptor, sources.merged[:10] + bytes(20), 0)
        verify_target(job.target, job.plan, sources.sources, job.kernel)


ROWS = pa.table({"key": [1, 2]})


def spill_beside_an_earlier_one(directory: Path) -> None:
    (directory / "a-00007.spill.arrow").touch()
    MapWriter(directory / "a.arrow", ROWS.schema, HashPartitioner(["key"], 4), MapOptions(spills_only=True))


TABLE: list[Row] = [
    Raised(OSError, "writing at offset …: '", merging({"pwrite": [Fail(errno.ENOSPC)]}, transfer_to="off")),
    Raised(RuntimeError, "the last copy method, sendfile, stopped at 0", copy_without_end),
    Raised(OSError, "writing at offset 100: '", merge_beyond_a_limit),
    Raised(ChecksumError, "the byte copied differs from the source's", verify_wrong_target),
    Raised(
        OSError,
        "nothing was written at offset …: '…/merged.arrow'",
        merging({"pwrite": [Zero()]}, transfer_to="off"),
    ),
    Raised(
        PositionError,
        "bytes written, as Linux … counts them: expected 0 to …, found …",
        merging({"pwrite": [Always(Lie(1))]}, method="buffered"),
    ),
    Raised(
        PositionError,
        "bytes read, as Linux … counts them: expected 0 to …, found …",
        merging({"pread": [Always(Lie(1))]}, method="buffered"),
    ),
    Raised(
        PositionError,
        ") miscounts; copying inside the kernel can be switched off with",
        merging({"copy_file_range": [Lie(1)]}, method="copy_file_range", transfer_to="on"),
    ),
    Raised(
        PositionError,
        ") miscounts; copying inside the kernel can be switched off with",
        merging({"size": [Lie(1)]}, method="sendfile", transfer_to="on"),
    ),
    Raised(
        ChecksumError,
        "`shuffle verify` of the sources tells which of them is damaged",
        merging({"sendfile": [Zeroes()]}, method="sendfile", transfer_to="on", verify=True),
    ),
    Raised(
        TargetExistsError,
        "an earlier spill, whose rows a merge of the directory would add",
        spill_beside_an_earlier_one,
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
