"""Merges in Spark's layout, killed at every call: the old output, the new one or none, never a mixture."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shuffle import MergeOptions, merge
from spill_format import CorruptError
from spill_format.spark.outputs import paths_beside, read_output
from tests.crash.test_merge_crash import CALLS, MERGER, ROOT, STRACE, calls_of_merge, needs_strace
from tests.helpers.spark_files import assert_spark_output, ranges_of_spark, write_spark

MAPS = [[b"first map, first partition", b""], [b"and second", b"second map, second partition"]]
MERGED = [b"".join(parts) for parts in zip(*MAPS, strict=True)]
OLD = [b"what was there before", b"of another layout", b"and partition count"]


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A directory of map outputs."""
    directory = tmp_path / "blockmgr-0"
    directory.mkdir()
    for number, ranges in enumerate(MAPS):
        write_spark(directory / f"shuffle_0_{number}_0.data", ranges)
    return directory


def merge_under_strace(maps: Path, target: Path, trace: Path, options: list[str], *injection: str) -> int:
    assert STRACE is not None
    command = [STRACE, "-f", "-qq", "-o", str(trace), "-e", f"trace={CALLS},flock"]
    for each in injection:
        command += ["-e", f"inject={each}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", MERGER, str(maps), str(target), *options]
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=False).returncode


def restore(target: Path, *, old: bool) -> None:
    for file in target.parent.iterdir():
        file.unlink()
    if old:
        write_spark(target, OLD, "CRC32")


def state_of(target: Path) -> list[bytes] | None:
    """The ranges of the output that a reader takes this for; None where there is no valid one."""
    try:
        output = read_output(paths_beside(target))
    except (CorruptError, FileNotFoundError):
        return None
    ranges = ranges_of_spark(target)
    assert output.checksums is not None
    algorithm = output.checksums.algorithm
    assert output.checksums.values.tolist() == [algorithm.update(each, algorithm.of_nothing) for each in ranges]
    return ranges


@needs_strace
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("options", "old"),
    [
        (["method=copy_file_range"], False),
        (["durable"], False),
        (["overwrite"], True),
        (["overwrite", "durable"], True),
    ],
    ids=["new", "new-durable", "replacing", "replacing-durable"],
)
def test_a_kill_at_any_call_leaves_the_old_output_the_new_one_or_none(
    maps: Path, tmp_path: Path, options: list[str], old: bool
) -> None:
    target = tmp_path / "outputs" / "merged.data"
    target.parent.mkdir()
    trace = tmp_path / "trace"
    restore(target, old=old)
    assert merge_under_strace(maps, target, trace, options) == 0
    assert_spark_output(target, MERGED)
    # Between two of these nothing changes: lseek and opening to read are as good as the call behind them.
    calls = [call for call in calls_of_merge(trace) if call.name != "lseek" and "O_RDONLY" not in call.line]
    assert sum(call.name in {"linkat", "rename"} for call in calls) >= 3

    states = []
    for call in calls:
        restore(target, old=old)
        kill = f"{call.name}:signal=SIGKILL:when={call.ordinal}"
        assert merge_under_strace(maps, target, trace, options, kill) == -signal.SIGKILL, call
        states.append(state_of(target))
        assert states[-1] in ([OLD] if old else []) + [None, MERGED], call
        if states[-1] is None and old:
            assert not target.with_suffix(".index").exists(), call
        # Whatever is left, the same merge again makes it whole, and leaves nothing else.
        merge([maps], target, MergeOptions(overwrite=old))
        assert_spark_output(target, MERGED)
    assert None in states
    assert states[0] == (OLD if old else None)


@needs_strace
def test_a_durable_merge_syncs_each_file_before_it_appears_and_the_directory_after(maps: Path, tmp_path: Path) -> None:
    target = tmp_path / "outputs" / "merged.data"
    target.parent.mkdir()
    assert merge_under_strace(maps, target, tmp_path / "trace", ["durable"]) == 0
    calls = [call.name for call in calls_of_merge(tmp_path / "trace") if call.name in {"fsync", "linkat"}]

    assert calls == ["fsync", "linkat", "fsync", "fsync"] * 3  # data, checksums, index
