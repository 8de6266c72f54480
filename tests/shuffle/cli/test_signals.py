"""Ctrl-C and SIGTERM in the middle of a command: its exit code, and nothing left behind.

System calls are slowed down by strace, so that the middle lasts long enough to be met.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.helpers.commands import command_line, environment_with, files_below
from tests.helpers.spills import random_spill

MERGE = "shuffle-merge spills -o merged.arrow --no-progress"
PARTITION = "shuffle partition rows.parquet --by key --partitions 50 -o new.arrow --memory 1MiB --spill-dir spills"

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spills of more than 64 MiB, so that two threads copy them, and rows that need many spills; tests only read."""
    directory = tmp_path_factory.mktemp("inputs")
    (directory / "spills").mkdir()
    for number in range(2):
        random_spill(directory / "spills" / f"{number}.spill.arrow", [50_000] * 25)
    keys = pa.array(range(400_000))
    pa.parquet.write_table(pa.table({"key": keys, "text": keys.cast(pa.string())}), directory / "rows.parquet")
    return directory


def interrupted(
    command: str,
    system_calls: str,
    signal_number: int,
    directory: Path,
    trace: Path,
    prefix: Sequence[str] = (),
) -> tuple[int, str]:
    """Exit code and stderr of a command that gets a signal after its first of ``system_calls``; each takes 50 ms."""
    # Detached (-D), the tracer is not our child: the command is, and the signal meets nobody else.
    slowed = ("strace", "-D", "-f", "-o", str(trace), "-e", f"trace={system_calls}")
    delay = ("-e", f"inject={system_calls}:delay_enter=50000")
    process = subprocess.Popen(
        [*prefix, *slowed, *delay, *command_line(command)],
        cwd=directory,
        env=environment_with(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while not re.search(rf" ({system_calls.replace(',', '|')})\(", trace.read_text() if trace.exists() else ""):
            assert process.poll() is None, f"finished before its first {system_calls}"
            time.sleep(0.01)
        os.kill(process.pid, signal_number)
        _, stderr = process.communicate()
    said = [line for line in stderr.splitlines(keepends=True) if not line.startswith("strace: ")]  # of threads that end
    return process.returncode, "".join(said)


CASES = {
    "merge by one thread": (f"{MERGE} --method copy_file_range --threads 1", "copy_file_range"),
    "merge by two threads": (f"{MERGE} --method copy_file_range --threads 2", "copy_file_range"),
    "merge by sendfile": (f"{MERGE} --method sendfile", "sendfile"),
    "merge by buffers": (f"{MERGE} --method buffered", "preadv,preadv2"),
    "merge to be durable": (f"{MERGE} --durable", "fsync"),
    "merge over an existing file": (f"{MERGE} --method copy_file_range --overwrite", "copy_file_range"),
    "merge that compacts": (f"{MERGE} --compact --threads 2", "writev"),
    "partition": (PARTITION, "writev"),
    "partition that keeps spills": (f"{PARTITION} --keep-spills", "writev"),
    "partition into spills alone": (f"{PARTITION} --spills-only", "writev"),
    "repair": ("shuffle repair spills/0.spill.arrow -o new.arrow", "writev"),
    "read to a file": ("shuffle read spills/0.spill.arrow -o new.parquet", "write"),
}


@pytest.mark.parametrize(("command", "system_calls"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    ("signal_number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_leaves_nothing_behind(
    inputs: Path, tmp_path: Path, command: str, system_calls: str, signal_number: int, code: int, word: str
) -> None:
    before = files_below(inputs)
    line = f"{command.split(maxsplit=1)[0]}: {word}\n"
    assert interrupted(command, system_calls, signal_number, inputs, tmp_path / "trace") == (code, line)
    assert files_below(inputs) == before


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(inputs: Path, tmp_path: Path) -> None:
    code, stderr = interrupted(
        f"shuffle-merge spills -o {tmp_path}/merged.arrow --method copy_file_range --quiet",
        "copy_file_range",
        signal.SIGINT,
        inputs,
        tmp_path / "trace",
        prefix=("sh", "-c", 'trap "" INT; exec "$@"', "sh"),
    )
    assert (code, stderr) == (0, "")
    assert (tmp_path / "merged.arrow").exists()
