"""Map tasks that are killed, and what the kernel sees of one spill: real processes, real signals."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spill_format import SpillFile

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")

# Says on stdout when it has written so many batches, and then waits: for a signal, or for a line that lets it go on.
TASK = """
import sys
import pyarrow as pa
from shuffle import HashPartitioner, MapOptions, MapWriter
target, directory, keep_spills, batch_count = sys.argv[1:]
schema = pa.schema([("key", pa.int64()), ("text", pa.string())])
options = MapOptions(memory_bytes=1 << 20, spill_directories=[directory], keep_spills=keep_spills == "keep")
with MapWriter(target, schema, HashPartitioner(["key"], 5), options) as writer:
    for number in range(int(batch_count)):
        writer.write(pa.record_batch([list(range(100)), ["x" * 1000] * 100], schema))
    print(flush=True)
    sys.stdin.readline()
print(writer.report.spill_count, flush=True)
"""


def signalled(target: Path, directory: Path, keep: str, batch_count: int, number: signal.Signals) -> int:
    """Write batches, send a signal, and tell how the process ended."""
    command = [sys.executable, "-c", TASK, str(target), str(directory), keep, str(batch_count)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        process.send_signal(number)
        return process.wait()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs" / "map.arrow"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "spills"
    path.mkdir()
    return path


@pytest.mark.parametrize("keep", ["keep", "discard"])
@pytest.mark.parametrize("batch_count", [0, 1, 100], ids=["before a row", "before a spill", "after spills"])
def test_a_kill_leaves_nothing(target: Path, directory: Path, batch_count: int, keep: str) -> None:
    assert signalled(target, directory, keep, batch_count, signal.SIGKILL) == -signal.SIGKILL
    assert os.listdir(directory) == os.listdir(target.parent) == []


def merged(directory: Path, target: Path) -> subprocess.CompletedProcess[str]:
    script = "import sys; from shuffle.cli import merge_main; sys.exit(merge_main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, str(directory), "-o", str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_merge_while_the_map_task_runs_finds_no_spill(target: Path, directory: Path) -> None:
    command = [sys.executable, "-c", TASK, str(target), str(directory), "keep", "100"]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        early = merged(directory, target.with_name("early.arrow"))
        process.communicate("\n")
    assert early.returncode == 2
    assert str(directory) in early.stderr
    assert len(os.listdir(directory)) > 3
    assert merged(directory, target.with_name("late.arrow")).returncode == 0
    assert target.with_name("late.arrow").read_bytes() == target.read_bytes()


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_signal_between_two_names_leaves_nothing_that_is_merged(
    target: Path, directory: Path, number: signal.Signals
) -> None:
    assert STRACE is not None
    at_the_third = f"inject=linkat:signal={number.value}:when=3"
    task = [sys.executable, "-c", TASK, str(target), str(directory), "keep", "100"]
    tracing = [STRACE, "-f", "-qq", "-o", os.devnull, "-e", "trace=linkat", "-e", at_the_third]
    completed = subprocess.run([*tracing, *task], cwd=ROOT, input="\n", capture_output=True, text=True, check=False)
    assert completed.returncode != 0
    assert os.listdir(target.parent) == []
    left = sorted(os.listdir(directory))
    if number == signal.SIGINT:
        assert left == []
    else:
        assert left[:2] == ["map-00000.spill.arrow", "map-00001.spill.arrow"]
        refused = merged(directory, target)
        assert refused.returncode == 2
        assert re.search(f"of which {len(left)} are here: number {len(left)} is missing", refused.stderr)
        assert not target.exists()


@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_an_error_after_names_were_given_leaves_none(target: Path, directory: Path) -> None:
    assert STRACE is not None
    task = [sys.executable, "-c", TASK, str(target), str(directory), "keep", "100"]
    tracing = [STRACE, "-f", "-qq", "-o", os.devnull, "-e", "trace=linkat", "-e", "inject=linkat:error=ENOSPC:when=3"]
    completed = subprocess.run([*tracing, *task], cwd=ROOT, input="\n", capture_output=True, text=True, check=False)
    assert "No space left" in completed.stderr
    assert os.listdir(directory) == os.listdir(target.parent) == []


@pytest.mark.parametrize("keep", ["keep", "discard"])
def test_an_interrupt_leaves_nothing(target: Path, directory: Path, keep: str) -> None:
    assert signalled(target, directory, keep, 100, signal.SIGINT) != 0
    assert os.listdir(directory) == os.listdir(target.parent) == []


@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_one_spill_is_published_by_its_name_alone(target: Path, tmp_path: Path) -> None:
    assert STRACE is not None
    # A single row that passes the budget is one spill, and the only one.
    task = TASK.replace('[list(range(100)), ["x" * 1000] * 100]', '[[1], ["x" * (2 << 20)]]')
    task = task.replace("MapOptions(", "MapOptions(alignment=64, ")  # else it is tried whether blocks can be shared
    trace = tmp_path / "trace"
    copying = "copy_file_range,sendfile,splice,ioctl,preadv,preadv2,pread64,pwritev,pwritev2,pwrite64"
    command = [STRACE, "-f", "-qq", "-y", "-o", str(trace), "-e", f"trace=writev,linkat,{copying}"]
    completed = subprocess.run(
        [*command, sys.executable, "-c", task, target, target.parent, "discard", "1"],
        cwd=ROOT,
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.split() == ["1"]
    lines = [line for line in trace.read_text().splitlines() if str(target.parent) in line]
    calls = [re.sub(r"^\d+ +(\w+)\(.*", r"\1", line) for line in lines]
    assert set(calls) == {"writev", "linkat"}
    assert calls.count("linkat") == 1
    assert calls[-1] == "linkat"
    with SpillFile(target) as output:
        output.verify()
