"""Compares a merged file with the Parquet files it was made from: row count, a column's sum, and where rows lie.

The merged file is read by Arrow alone, as any tool would that knows nothing of partitions.
"""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from shuffle import HashPartitioner


def main(input_directory: str, merged_path: str, partition: int, partition_path: str) -> int:
    """Print each comparison; 1 if one fails."""
    columns = ["l_orderkey", "l_quantity"]
    before = ds.dataset(input_directory).to_table(columns)
    with pa.memory_map(merged_path) as file:
        merged = pa.ipc.open_file(file).read_all()
        after = merged.select(columns)
    one = pq.read_table(partition_path).combine_chunks()
    numbers = HashPartitioner("l_orderkey", 64).partition_numbers(
        pa.record_batch({"l_orderkey": before["l_orderkey"].combine_chunks()})
    )
    comparisons = [
        ("rows", before.num_rows, after.num_rows),
        ("sum of l_quantity", pc.sum(before["l_quantity"]), pc.sum(after["l_quantity"])),
        ("sum of l_orderkey", pc.sum(before["l_orderkey"]), pc.sum(after["l_orderkey"])),
        (f"rows of partition {partition}", int((numbers == partition).sum()), one.num_rows),
    ]
    for name, expected, actual in comparisons:
        print(
            f"{name:24} input {expected!s:>16}  merged {actual!s:>16}  {'equal' if expected == actual else 'DIFFERENT'}"
        )
    return int(any(expected != actual for _, expected, actual in comparisons))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
