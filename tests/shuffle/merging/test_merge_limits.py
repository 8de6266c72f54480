"""What a merge needs at most of memory and of descriptors, measured in processes of their own."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from shuffle.merging.copy.ladder import METHODS
from shuffle.options import MethodName
from tests.helpers.spills import random_spill, ranges_of

ROOT = Path(__file__).parents[3]
MIB = 1 << 20

# One spill stands for many: a source is whatever is given, also what was given before.
MERGER = """
import resource, sys
from shuffle.options import MergeOptions
from shuffle.merging.merge import merge_prepared, prepare_merge
spill, count, target, method, threads, verify, descriptors = sys.argv[1:]
if descriptors != "all":
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
print("imported", flush=True)
sys.stdin.readline()
prepared = prepare_merge([spill] * int(count))
options = MergeOptions(method=method, threads=int(threads), verify=verify == "verify")
merge_prepared(prepared, target, options)
print(prepared.plan.range_count)
"""


def start_merge(*arguments: object) -> subprocess.Popen[str]:
    """A process that has imported what it needs, and waits for a line."""
    command = [sys.executable, "-c", MERGER, *map(str, arguments)]
    merger = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert merger.stdout is not None
    assert merger.stdout.readline() == "imported\n"
    return merger


def anonymous_bytes(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0  # it has ended


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    ("partition_count", "rows", "source_count"), [(5000, 8, 60), (100, 40_000, 6)], ids=["many ranges", "large ranges"]
)
@pytest.mark.parametrize(
    ("method", "threads", "verify"),
    [("gather", 1, "no"), ("gather", 4, "verify"), ("buffered", 4, "no"), ("copy_file_range", 4, "no")],
)
def test_a_merge_takes_96_mib_beyond_64_bytes_a_range(
    tmp_path: Path, partition_count: int, rows: int, source_count: int, method: MethodName, threads: int, verify: str
) -> None:
    spill = random_spill(tmp_path / "spill", [rows] * partition_count)
    merger = start_merge(spill, source_count, tmp_path / "target", method, threads, verify, "all")
    before = peak = anonymous_bytes(merger.pid)
    assert merger.stdin is not None
    merger.stdin.write("go\n")
    merger.stdin.flush()
    while merger.poll() is None:
        peak = max(peak, anonymous_bytes(merger.pid))
        time.sleep(0.002)
    output, errors = merger.communicate()
    assert (merger.returncode, errors) == (0, "")
    range_count = int(output)
    assert range_count == source_count * partition_count
    assert before < peak <= before + 96 * MIB + 64 * range_count
    assert (tmp_path / "target").stat().st_size > spill.stat().st_size * source_count * 0.8


@pytest.mark.parametrize(("method", "threads"), [*((method, 4) for method in METHODS), ("gather", 1)])
def test_5000_sources_with_256_descriptors(tmp_path: Path, method: MethodName, threads: int) -> None:
    spill = random_spill(tmp_path / "spill", [1, 0, 2, 200])
    merger = start_merge(spill, 5000, tmp_path / "target", method, threads, "no", 256)
    assert merger.communicate("go\n") == ("15000\n", "")
    assert merger.returncode == 0
    ranges = ranges_of(spill)
    assert ranges_of(tmp_path / "target") == [content * 5000 for content in ranges]
