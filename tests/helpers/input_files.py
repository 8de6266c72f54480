"""Files that ``shuffle partition`` reads, of every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet


def write_json(rows: pa.Table, path: Path) -> None:
    pairs = zip(rows["key"].to_pylist(), rows["text"].to_pylist(), strict=True)
    lines = "".join(f'{{"key":{key},"text":"{text}"}}\n' for key, text in pairs)
    with pa.output_stream(path) as stream:  # compressed by its name
        stream.write(lines.encode())


INPUT_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".parquet": lambda rows, path: pa.parquet.write_table(rows, path, row_group_size=10_000),
    ".arrow": pa.feather.write_feather,
    ".csv": pa.csv.write_csv,
    ".csv.gz": lambda rows, path: pa.csv.write_csv(rows, pa.output_stream(path)),
    ".jsonl": write_json,
    ".ndjson.gz": write_json,
}
"""By the end of the name; JSON lines are of rows with the columns key and text."""
