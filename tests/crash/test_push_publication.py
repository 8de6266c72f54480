"""Merges into Spark's push-based layout, killed at every call: a partition is whole, or no reader takes it for one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shuffle.merging.push_merge import merge_pushed
from spill_format import CorruptError
from spill_format.spark.pushed import read_pushed
from tests.crash.test_merge_crash import CALLS, FIRST, LAST, ROOT, STRACE, calls_of_merge, needs_strace
from tests.helpers.spark_files import write_spark

MERGER = f"""
import os, sys
from shuffle.merging.push_merge import merge_pushed
os.access("{FIRST}", os.F_OK)
merge_pushed([sys.argv[1]], sys.argv[2], application="a")
os.access("{LAST}", os.F_OK)
"""
BLOCK = b"first map" + b"second map"


def merge_under_strace(maps: Path, out: Path, trace: Path, *injection: str) -> int:
    assert STRACE is not None
    command = [STRACE, "-f", "-qq", "-o", str(trace), "-e", f"trace={CALLS},flock"]
    for each in injection:
        command += ["-e", f"inject={each}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", MERGER, str(maps), str(out)]
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=False).returncode


def state_of(data: Path) -> str:
    """What a reader takes a partition for; CorruptError for anything but data whose index has not come."""
    try:
        pushed = read_pushed(data)
    except FileNotFoundError:
        return "nothing"
    except CorruptError as error:
        if error.problem.startswith("there is no index"):
            return "data without an index"
        raise
    assert (pushed.read(0), pushed.maps) == (BLOCK, ((0, 1),))
    return "whole"


@needs_strace
@pytest.mark.timeout(300)
def test_a_kill_at_any_call_leaves_a_whole_partition_or_none(tmp_path: Path) -> None:
    maps, out, trace = tmp_path / "maps", tmp_path / "out", tmp_path / "trace"
    maps.mkdir()
    out.mkdir()
    for number, content in enumerate([b"first map", b"second map"]):
        write_spark(maps / f"shuffle_0_{number}_0.data", [content])
    assert merge_under_strace(maps, out, trace) == 0
    calls = [call for call in calls_of_merge(trace) if call.name != "lseek" and "O_RDONLY" not in call.line]
    assert sum(call.name == "linkat" for call in calls) == 3

    data = out / "shuffleMerged_a_0_0_0.data"
    states = set()
    for call in calls:
        for file in out.iterdir():
            file.unlink()
        kill = f"{call.name}:signal=SIGKILL:when={call.ordinal}"
        assert merge_under_strace(maps, out, trace, kill) == -signal.SIGKILL, call
        states.add(state_of(data))
        # Whatever is left, the same merge again makes it whole, and leaves nothing else.
        merge_pushed([maps], out, application="a")
        assert state_of(data) == "whole"
        assert len(os.listdir(out)) == 3
    assert states >= {"nothing", "data without an index"}
