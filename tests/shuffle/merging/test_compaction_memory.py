"""The budget of a compacting merge, measured: the anonymous memory of a process that does nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from spill_format import SpillFile, SpillWriter

MIB = 1 << 20
ALLOWANCE_MIB = 64  # for the interpreter and its libraries
ROOT = Path(__file__).parents[3]

# Memory is sampled by a thread of its own, since what counts is the highest that it ever was.
TASK = """
import sys, threading
from shuffle import MergeOptions, merge

directory, target, memory_mib, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
peak_kib, done = 0, threading.Event()

def anonymous_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))

def sample():
    global peak_kib
    while not done.wait(0.002):
        peak_kib = max(peak_kib, anonymous_kib())

sampler = threading.Thread(target=sample, daemon=True)
sampler.start()
report = merge([directory], target, MergeOptions(compact=True, memory_bytes=memory_mib << 20, threads=threads))
done.set()
sampler.join()
print(report.row_count, peak_kib)
"""
SCHEMA = pa.schema([("key", pa.int64()), ("text", pa.binary())])


def batch_of(number: int, row_count: int, text_length: int) -> pa.RecordBatch:
    keys = np.arange(row_count) * 2654435761 + number
    texts = [bytes([(number + row) % 256]) * text_length for row in range(row_count)]
    return pa.record_batch([keys, pa.array(texts, pa.binary())], SCHEMA)


def write(path: Path, batches: dict[int, tuple[int, pa.RecordBatch]], partition_count: int, codec: str | None) -> None:
    """A file with a batch, so many times, in each partition."""
    with SpillWriter(path, SCHEMA, partition_count, codec) as writer:
        for partition, (count, batch) in sorted(batches.items()):
            for _ in range(count):
                writer.write(partition, batch)


# Budget, partitions, and of each of two sources: partition → how often, how many rows, length of texts.
Content = dict[int, tuple[int, int, int]]
CASES: dict[str, tuple[int, int, str | None, Content]] = {
    "20 times the budget": (16, 50, None, dict.fromkeys(range(50), (400, 10, 800))),
    "one partition of 20 times the budget": (16, 5, None, {2: (160, 100, 10_000), 4: (1, 1, 1)}),
    "tiny batches": (8, 1, None, {0: (60_000, 1, 100)}),
    "a hundredth when compressed": (32, 3, "zstd", {1: (320, 10, 100_000)}),
    "a large budget": (100, 20, None, dict.fromkeys(range(20), (35, 20, 10_000))),
}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("memory_mib", "partition_count", "codec", "content"), CASES.values(), ids=CASES)
def test_memory_stays_within_the_budget(
    tmp_path: Path, memory_mib: int, partition_count: int, codec: str | None, content: Content, threads: int
) -> None:
    (tmp_path / "spills").mkdir()
    batches = {partition: (count, batch_of(partition, *shape)) for partition, (count, *shape) in content.items()}
    for number in range(2):
        write(tmp_path / "spills" / f"{number}.spill.arrow", batches, partition_count, codec)
    target = tmp_path / "merged.arrow"
    completed = subprocess.run(
        [sys.executable, "-c", TASK, tmp_path / "spills", target, str(memory_mib), str(threads)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    row_count, peak_kib = map(int, completed.stdout.split())
    assert peak_kib / 1024 < memory_mib + ALLOWANCE_MIB
    with SpillFile(target) as merged:
        merged.verify()
        assert merged.layout.row_count == row_count == 2 * sum(count * rows for count, rows, _ in content.values())
