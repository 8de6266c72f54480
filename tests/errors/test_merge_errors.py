"""Errors of merging: which source, which range, what the kernel did, and what can be switched off."""

import errno
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shuffle import HashPartitioner, MapOptions, MapWriter, MergeOptions, merge
from shuffle.merging.copy.ladder import copy_span
from shuffle.merging.plan import plan_merge
from shuffle.merging.verification import verify_target
from shuffle.testing import Always, Fail, Lie, Meanwhile, Real, ScriptedKernel, Step, Zero, Zeroes
from shuffle.testing.opaque import OpaqueSources
from shuffle.warning import ShuffleWarning
from spill_format import (
    ChecksumError,
    MismatchError,
    PartitionLayout,
    PositionError,
    SpillError,
    TargetExistsError,
    TruncatedError,
)
from tests.errors.rows import Provoked, Raised, Table, each_row, elsewhere
from tests.helpers.spills import random_spill, random_spills

SWITCH = '--transfer-to off or transfer_to="off"'
MISCOUNTS = f"; this kernel (Linux …) miscounts; copying inside the kernel can be switched off with {SWITCH}"
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


def merge_named(*names: str) -> Callable[[Path], object]:
    """What merges files and directories of these names, ``spills`` and ``empty`` among them."""

    def provoke(directory: Path) -> object:
        spills_in(directory)
        (directory / "empty").mkdir()
        random_spill(directory / "two.arrow", [1, 2])
        random_spill(directory / "words.arrow", [1, 2, 3], schema=OTHER_SCHEMA)
        return merge([directory / name for name in names], directory / "merged.arrow")

    return provoke


def delete_target(directory: Path) -> None:
    first, *_ = sources = spills_in(directory)
    merge(sources, first, MergeOptions(delete_sources=True, overwrite=True))


def copy_without_end(directory: Path) -> None:
    with OpaqueSources(directory, [[10]]).job(ScriptedKernel({"sendfile": [Always(Zero())]})) as job:
        copy_span(job, ["sendfile"], job.plan.start, job.plan.end)


def change_source(directory: Path) -> None:
    first, *others = spills_in(directory)
    kernel = ScriptedKernel({"sendfile": [Meanwhile(lambda: others[-1].write_bytes(b"another"))]})
    merge([first, *others], directory / "merged.arrow", MergeOptions(threads=1, method="sendfile"), kernel=kernel)


def cut_source(directory: Path) -> None:
    first, *others = spills_in(directory)
    kernel = ScriptedKernel({"pread": [Real(), Meanwhile(lambda: os.truncate(first, 0))]})
    merge([first, *others], directory / "merged.arrow", MergeOptions(threads=1, method="buffered"), kernel=kernel)


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


def layouts(*partition_counts: int) -> Sequence[PartitionLayout]:
    return [PartitionLayout(np.arange(count + 1, dtype=np.int64)) for count in partition_counts]


ROWS = pa.table({"key": [1, 2]})


def spill_beside_an_earlier_one(directory: Path) -> None:
    (directory / "a-00007.spill.arrow").touch()
    MapWriter(directory / "a.arrow", ROWS.schema, HashPartitioner(["key"], 4), MapOptions(spills_only=True))


TABLE: Table = {
    "shuffle/merging/merge.py": [
        Raised(ValueError, "there is nothing to merge: no sources", lambda directory: merge([], directory / "a.arrow")),
        Raised(
            ValueError,
            "PATH/spills/spill-0.spill.arrow is the target and a source: it would be deleted",
            delete_target,
        ),
        *elsewhere(
            "tests/shuffle/merging/test_merge.py::test_one_that_cannot_be_deleted_is_a_warning",
            "the source … could not be deleted: …",
        ),
    ],
    "shuffle/merging/plan.py": [
        Raised(ValueError, "there is nothing to merge: no sources", lambda _: plan_merge([])),
        Raised(ValueError, "source 1 has 3 partitions, source 0 has 2", lambda _: plan_merge(layouts(2, 3))),
        Raised(
            ValueError,
            "no file can hold what the sources have together: 18446744073709551614 bytes",
            lambda _: plan_merge([PartitionLayout(np.array([0, 2**63 - 1]))] * 2),
        ),
    ],
    "shuffle/merging/sources.py": [
        Raised(ValueError, "no spills: looked for *.spill.arrow in the directory PATH/empty", merge_named("empty")),
        Raised(
            ValueError,
            "the directory PATH/spills holds a file that is also given by its name",
            merge_named("spills", "spills/spill-1.spill.arrow"),
        ),
        Raised(
            TypeError,
            "sources must be a list of paths, not the single path 'spills'",
            lambda directory: merge("spills", directory / "a.arrow"),
        ),
        Raised(
            MismatchError,
            "PATH/two.arrow: another number of partitions than PATH/spills/spill-0.spill.arrow: expected 3, found 2",
            merge_named("spills", "two.arrow"),
        ),
        Raised(
            SpillError,
            "PATH/spills/spill-2.spill.arrow: the source changed after its index was read: "
            "expected device …, inode …, … bytes, modified at …, found device …, inode …, 7 bytes, modified at …; "
            "merge again when nobody writes to it",
            change_source,
        ),
    ],
    "shuffle/merging/formats/arrow.py": [
        Raised(
            MismatchError,
            "PATH/words.arrow: another schema than PATH/spills/spill-0.spill.arrow: column key is string, not int64",
            merge_named("spills", "words.arrow"),
        ),
    ],
    "shuffle/merging/copy/job.py": [
        Raised(
            OSError,
            f"[Errno {errno.ENOSPC}] No space left on device: writing at offset …: 'PATH/merged.arrow'",
            merging({"pwrite": [Fail(errno.ENOSPC)]}, transfer_to="off"),
        ),
        Raised(
            OSError,
            f"[Errno {errno.EIO}] nothing was written at offset …: 'PATH/merged.arrow'",
            merging({"pwrite": [Zero()]}, transfer_to="off"),
        ),
        Raised(
            PositionError,
            "PATH/merged.arrow, offset …: bytes written, as Linux … counts them: expected 0 to …, found …",
            merging({"pwrite": [Always(Lie(1))]}, method="buffered"),
        ),
        Raised(
            OSError,
            f"[Errno {errno.EIO}] Input/output error: reading at offset …: 'PATH/spills/spill-0.spill.arrow'",
            merging({"pread": [Fail(errno.EIO)]}, transfer_to="off"),
        ),
        Raised(
            PositionError,
            "PATH/spills/spill-0.spill.arrow, offset …: bytes read, as Linux … counts them: expected 0 to …, found …",
            merging({"pread": [Always(Lie(1))]}, method="buffered"),
        ),
        Raised(
            TruncatedError,
            "PATH/spills/spill-0.spill.arrow, offset …: the source was cut short after its index was read: "
            "expected … bytes, found 0; merge again when nobody writes to it",
            cut_source,
        ),
        Raised(
            OSError,
            f"[Errno {errno.ENOSPC}] No space left on device: sendfile from PATH/spills/spill-0.spill.arrow, "
            "offset …, to: "
            "'PATH/merged.arrow'",
            merging({"sendfile": [Fail(errno.ENOSPC)]}, method="sendfile"),
        ),
        Raised(
            PositionError,
            "PATH/merged.arrow, partition 0, offset …: after sendfile of … bytes from PATH/spills/spill-0.spill.arrow, "
            f"offset …: the target's file position: expected …, found …{MISCOUNTS}",
            merging({"position": [Lie(-1)]}, method="sendfile", transfer_to="on"),
        ),
    ],
    "shuffle/merging/copy/in_kernel.py": [
        Raised(
            PositionError,
            "PATH/merged.arrow, partition 0, offset …: after copy_file_range of … bytes from "
            f"PATH/spills/spill-0.spill.arrow, offset …: bytes copied: expected …, found …{MISCOUNTS}",
            merging({"copy_file_range": [Lie(1)]}, method="copy_file_range", transfer_to="on"),
        ),
    ],
    "shuffle/merging/copy/sendfile.py": [
        Raised(
            PositionError,
            "PATH/merged.arrow, partition 0, offset …: after sendfile of … bytes from PATH/spills/spill-0.spill.arrow, "
            f"offset …: the target's file position: expected …, found …{MISCOUNTS}",
            merging({"sendfile": [Lie(8)]}, method="sendfile", transfer_to="on"),
        ),
    ],
    "shuffle/merging/copy/ladder.py": [
        Raised(
            RuntimeError,
            "the last copy method, sendfile, stopped at 0: the call copied nothing and said that all is well",
            copy_without_end,
        ),
    ],
    "shuffle/merging/target_writer.py": [
        Raised(
            ShuffleWarning,
            "rebuilding PATH/merged.arrow with buffered copying: PATH/merged.arrow, partition 0, offset …: after "
            "sendfile of … "
            "bytes from PATH/spills/spill-0.spill.arrow, offset …: the target's file position: expected …, found …"
            f"{MISCOUNTS}",
            merging({"position": [Lie(-1)]}, method="sendfile"),
        ),
        Raised(
            PositionError,
            f"PATH/merged.arrow: after sendfile of … bytes: the target's size: expected …, found …{MISCOUNTS}",
            merging({"size": [Lie(1)]}, method="sendfile", transfer_to="on"),
        ),
        *elsewhere(
            ""
            "tests/shuffle/merging/test_merge_on_file_systems.py::test_too_little_room_is_told_with_both_figures_before_anything_is_copied",
            "…: … bytes will be written, … are free",
        ),
        Raised(
            OSError,
            f"[Errno {errno.EFBIG}] File too large: writing … bytes at offset 100: 'PATH/merged.arrow'",
            merge_beyond_a_limit,
        ),
    ],
    "shuffle/merging/verification.py": [
        Raised(
            ChecksumError,
            "PATH/merged.arrow, partition 0, offset …: CRC32C of the … bytes written: expected …, found …; "
            "`shuffle verify` of the sources tells which of them is damaged",
            merging({"sendfile": [Zeroes()]}, method="sendfile", transfer_to="on", verify=True),
        ),
        Raised(
            ChecksumError,
            "PATH/target, partition 1, offset 10: the byte copied differs from the source's: expected …, found 00; "
            "the source was changed meanwhile, or the disk does not keep what it is given",
            verify_wrong_target,
        ),
        *elsewhere(
            "tests/shuffle/merging/test_verification.py::test_a_target_that_cannot_be_read_is_named",
            "…: reading back at offset …",
        ),
    ],
    "shuffle/mapping/spill_store.py": [
        *elsewhere(
            "tests/shuffle/mapping/test_spill_store.py::test_a_full_disk_is_left_while_another_has_room",
            "no further spills in …: …",
        ),
        Raised(
            TargetExistsError,
            "PATH/a-00007.spill.arrow: an earlier spill, whose rows a merge of the directory would add to the "
            "new ones; "
            "remove such spills, or let --overwrite or overwrite=True do it",
            spill_beside_an_earlier_one,
        ),
    ],
    "shuffle/mapping/map_writer.py": [
        *elsewhere(
            "tests/shuffle/mapping/test_map_writer.py::test_a_partition_that_does_not_exist_fails_for_good",
            "…: an earlier write failed, so rows are missing",
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
