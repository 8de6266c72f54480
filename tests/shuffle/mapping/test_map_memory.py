"""The budget, measured: the anonymous memory of a process that does nothing else than one map task, or one command."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from spill_format import SpillFile

MIB = 1 << 20
ALLOWANCE_MIB = 64  # for the interpreter, its libraries, and the batch that the caller holds

ROOT = Path(__file__).parents[3]

# Memory is sampled by a thread of its own, since what counts is the highest that it ever was.
TASK = """
import sys, threading
import numpy as np, pyarrow as pa
from shuffle import HashPartitioner, MapOptions, MapWriter

kind, target, memory_mib, input_mib, partition_count, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
peak_kib, done = 0, threading.Event()

def anonymous_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))

def sample():
    global peak_kib
    while not done.wait(0.002):
        peak_kib = max(peak_kib, anonymous_kib())

def rows(number, count, text_length):
    # From buffers, since pa.array imports pandas, if it is there, and that alone takes 26 MiB.
    keys = np.arange(number * count, (number + 1) * count) * 2654435761
    texts = np.full(count * text_length, number % 256, np.uint8)
    offsets = np.arange(0, count * text_length + 1, text_length, dtype=np.int32)
    numbers = pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(keys)])
    values = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(texts)])
    return pa.record_batch([numbers, values], ["key", "text"])

def narrow(number):
    return rows(number, 50_000, 20)

def wide(number):
    return rows(number, 2, 1 << 20)

def encoded(number):
    # 16,384 rows of 20,000 bytes, all the same: 64 KiB until they are decoded.
    indices = pa.Array.from_buffers(pa.int32(), 16_384, [None, pa.py_buffer(np.zeros(16_384, np.int32))])
    values = rows(number, 1, 20_000)["text"]
    keys = rows(number, 16_384, 1)["key"]
    return pa.record_batch([keys, pa.DictionaryArray.from_arrays(indices, values)], ["key", "text"])

make = {
    "narrow": narrow,
    "wide": wide,
    "encoded": encoded,
    "large": lambda number: rows(number, 1, 20 << 20) if number % 10 == 5 else narrow(number),
}[kind]
sampler = threading.Thread(target=sample, daemon=True)
sampler.start()
options = MapOptions(memory_bytes=memory_mib << 20, threads=threads)
with MapWriter(target, make(0).schema, HashPartitioner(["key"], partition_count), options) as writer:
    given, number = 0, 0
    while given < input_mib << 20:
        batch = make(number)
        writer.write(batch)
        given, number = given + (16_384 * 20_000 if kind == "encoded" else batch.nbytes), number + 1
        del batch
done.set()
sampler.join()
print(writer.report.row_count, writer.report.spill_count, peak_kib)
"""


@dataclass(frozen=True)
class Outcome:
    row_count: int
    spill_count: int
    peak_mib: float


def run(kind: str, target: Path, memory_mib: int, input_mib: int, partition_count: int, threads: int = 2) -> Outcome:
    arguments = map(str, (memory_mib, input_mib, partition_count, threads))
    completed = subprocess.run(
        [sys.executable, "-c", TASK, kind, target, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    row_count, spill_count, peak_kib = map(int, completed.stdout.split())
    return Outcome(row_count, spill_count, peak_kib / 1024)


# kind of rows, budget, input, partitions
CASES = {
    "20 times the budget": ("narrow", 32, 640, 50),
    "20 times a small budget": ("narrow", 4, 80, 50),
    "20 times a large budget": ("narrow", 100, 2000, 50),
    "wide rows": ("wide", 32, 640, 50),
    "10,000 partitions": ("narrow", 32, 640, 10_000),
    "everything fits": ("narrow", 256, 150, 50),
}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("kind", "memory_mib", "input_mib", "partition_count"), CASES.values(), ids=CASES)
def test_memory_stays_within_the_budget(
    tmp_path: Path, kind: str, memory_mib: int, input_mib: int, partition_count: int, threads: int
) -> None:
    target = tmp_path / "map.arrow"
    outcome = run(kind, target, memory_mib, input_mib, partition_count, threads)
    assert outcome.peak_mib < memory_mib + ALLOWANCE_MIB
    assert (outcome.spill_count > 0) is (input_mib > memory_mib)
    with SpillFile(target) as output:
        assert output.layout.row_count == outcome.row_count


@pytest.mark.parametrize("threads", [1, 4])
def test_dictionaries_are_decoded_a_few_rows_at_a_time(tmp_path: Path, threads: int) -> None:
    # Twice the allowance, for blocks of some hundred KiB malloc does not give back; 8,192 rows alone would be 160 MiB.
    outcome = run("encoded", tmp_path / "map.arrow", 32, 640, 50, threads)
    assert outcome.peak_mib < 32 + 2 * ALLOWANCE_MIB


def test_a_row_larger_than_the_budget_is_not_copied(tmp_path: Path) -> None:
    outcome = run("large", tmp_path / "map.arrow", 16, 200, 10, threads=1)
    assert outcome.peak_mib < 16 + ALLOWANCE_MIB


# --- the command, which also reads ---------------------------------------------------------------------------------

READING_MIB = 160  # for what decodes files, the batches that are read ahead, and what mimalloc keeps of them


def texts(count: int, values: int, width: int) -> pa.Table:
    """Rows with texts of which so many are different."""
    indices = pa.array([number * 7919 % values for number in range(count)], pa.int32())
    shared = pa.DictionaryArray.from_arrays(indices, [f"{number:05}" * (width // 5) for number in range(values)])
    return pa.table({"key": range(count), "text": shared.cast(pa.string())})


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "few long values": ("x.parquet", lambda path: pa.parquet.write_table(texts(200_000, 10, 2000), path)),
    "some long values": ("x.parquet", lambda path: pa.parquet.write_table(texts(200_000, 400, 2000), path)),
    "one row group": (
        "x.parquet",
        lambda path: pa.parquet.write_table(texts(200_000, 200_000, 2000), path, use_dictionary=False),
    ),
    "Arrow": (
        "x.arrow",
        lambda path: pa.feather.write_feather(texts(1_000_000, 1000, 400), path, "lz4", chunksize=1 << 14),
    ),
    "CSV": ("x.csv", lambda path: pa.csv.write_csv(texts(1_000_000, 1000, 400), path)),
}


@pytest.mark.parametrize(("name", "make"), FILES.values(), ids=FILES)
def test_what_is_read_is_little_beside_the_budget(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    make(tmp_path / name)
    command = f"-m shuffle partition {tmp_path / name} --by key --partitions 50 --memory 32MiB --quiet -o {tmp_path}/o"
    process = subprocess.Popen([sys.executable, *command.split()], cwd=ROOT)
    peak_kib = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kib = max([peak_kib, *(int(line.split()[1]) for line in status.splitlines() if "RssAnon" in line)])
        time.sleep(0.002)
    assert process.returncode == 0
    assert 0 < peak_kib / 1024 < 32 + ALLOWANCE_MIB + READING_MIB
