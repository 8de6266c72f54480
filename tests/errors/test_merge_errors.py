"""Errors of merging: which source, which range, what the kernel did, and what can be switched off."""

import os
import resource
from pathlib import Path

import pyarrow as pa

from shuffle import HashPartitioner, MapOptions, MapWriter, merge
from shuffle.merging.verification import verify_target
from shuffle.testing.opaque import OpaqueSources
from spill_format import ChecksumError, TargetExistsError
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.spills import random_spills

OTHER_SCHEMA = pa.schema([("key", pa.string()), ("text", pa.string())])


def spills_in(directory: Path) -> list[Path]:
    (directory / "spills").mkdir()
    return random_spills(directory / "spills", [10, 0, 30], [0, 20, 10], [5, 5, 5])


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
    Raised(OSError, "writing at offset 100: '", merge_beyond_a_limit),
    Raised(ChecksumError, "the byte copied differs from the source's", verify_wrong_target),
    Raised(
        TargetExistsError,
        "an earlier spill, whose rows a merge of the directory would add",
        spill_beside_an_earlier_one,
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
