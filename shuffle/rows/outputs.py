"""Rows out: Arrow files and streams, Parquet, CSV, JSON lines, each written batch by batch to one sink.

The caller decides which rows are written, and where the bytes go; ``output_formats.py`` lists the formats.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any, Protocol

import pyarrow as pa

_ROW_GROUP_ROWS = 1 << 20
_ROW_GROUP_BYTES = 128 << 20
_JSON_ROWS = 1 << 12  # rows that are Python objects at a time


class BatchWriter(Protocol):
    """Writes batches of one schema, and the end of the format when it is closed."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the rows of a batch."""

    def close(self) -> None:
        """Write the end of the format; the sink stays open."""


@contextmanager
def batch_writer(format_name: str, sink: IO[bytes], schema: pa.Schema) -> Iterator[BatchWriter]:
    """Open a writer to a sink, which stays open. After an error no end is written, so that readers notice.

    Raises:
        pyarrow.ArrowException: the format cannot hold such columns.
    """
    gate = _Gate(sink)
    writer = _WRITERS[format_name](gate, schema)
    try:
        yield writer
        writer.close()
    finally:
        gate.shut = True


class _Gate(io.RawIOBase):
    """Lets bytes through to a sink until it is shut. Arrow's writers finish their files when they are collected, too,
    whole or not."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.shut = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.shut:
            self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        if not self.shut:
            self._sink.flush()


class _ParquetWriter:
    """Joins batches to row groups of a size that is good to read; the batches of a spill may be small."""

    def __init__(self, sink: io.RawIOBase, schema: pa.Schema) -> None:
        import pyarrow.parquet

        self._writer = pyarrow.parquet.ParquetWriter(sink, schema)
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= _ROW_GROUP_ROWS or self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._write_waiting()

    def close(self) -> None:
        if self._waiting:
            self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=_ROW_GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


class _JsonWriter:
    """One object a line. What JSON has no type for is text, as Spark writes it: dates, times and decimals to the last
    digit, NaN and Infinity; bytes in base64."""

    def __init__(self, sink: io.RawIOBase, schema: pa.Schema) -> None:
        self._sink = sink
        self._as_text = [_has_text_of_its_own(field.type) for field in schema]

    def write_batch(self, batch: pa.RecordBatch) -> None:
        for start in range(0, batch.num_rows, _JSON_ROWS):
            rows = batch.slice(start, _JSON_ROWS)
            columns = [
                column.cast(pa.string()) if as_text else column
                for column, as_text in zip(rows.columns, self._as_text, strict=True)
            ]
            values = zip(*(column.to_pylist() for column in columns), strict=True)
            names = batch.schema.names
            lines = (json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False) for row in values)
            self._sink.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))

    def close(self) -> None:
        """Do nothing: JSON lines have no end to write."""


def _has_text_of_its_own(kind: pa.DataType) -> bool:
    """Tell whether Arrow writes values of a type as text with nanoseconds, which Python's objects cannot hold."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_date(kind))


def _plain(value: Any) -> Any:
    """Return a value in a form that JSON has."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes():
            return base64.b64encode(value).decode()
        case Decimal() | date() | datetime() | time() | timedelta():
            return str(value)
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():  # maps are lists of pairs
            return [_plain(part) for part in value]
    return value


def _csv_writer(sink: io.RawIOBase, schema: pa.Schema) -> BatchWriter:
    """Null is an empty field, and the empty text is in quotes."""
    import pyarrow.csv

    writer: BatchWriter = pyarrow.csv.CSVWriter(sink, schema)
    return writer


_WRITERS: dict[str, Callable[[io.RawIOBase, pa.Schema], BatchWriter]] = {
    "arrow": pa.ipc.new_file,
    "arrows": pa.ipc.new_stream,
    "parquet": _ParquetWriter,
    "csv": _csv_writer,
    "jsonl": _JsonWriter,
}
