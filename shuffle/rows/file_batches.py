"""The rows of one input file as it stores them, some MiB at a time: Parquet, Arrow, CSV and JSON lines.

Nothing is read before it is asked for: ``pyarrow.dataset`` decodes whole row groups, and more of them than a slow
consumer takes, up to a GiB. Which files, columns and rows are wanted is the business of ``inputs.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.ipc
import pyarrow.parquet as pq

from shuffle.arrays.plain_size import plain_bytes
from shuffle.rows.csv_files import csv_batches
from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.json_lines import json_batches

# As large as usual row groups, of which TPC-H's have 100,000 rows: their rests would make batches of their own.
_BATCH_ROWS = 1 << 17
_FIRST_ROWS = 1 << 10  # of a Parquet file, whose metadata does not tell how large its texts are once decoded
_READ_BYTES = 256 << 10  # at once of a Parquet file's column, which else is read whole


def file_batches(
    part: ds.Fragment,
    schema: pa.Schema,
    columns: Sequence[str],
    encoded: Sequence[str],
    most_bytes: int,
    csv_options: CsvOptions,
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of a Parquet file's row groups, in order.

    Args:
        part: of the file, or some of its row groups.
        schema: of the columns in the file, at least; of CSV and JSON lines nothing else tells the types.
        columns: that are wanted. Batches have them in any order, and perhaps others, in types that can be cast.
        encoded: those of a Parquet file that are left dictionary-encoded.
        most_bytes: of a batch of a Parquet file: about, as its rows seldom differ much from the ones before. Arrow's
            files have batches of their own, CSV and JSON lines are read by blocks.
        csv_options: how CSV files are written.

    Raises:
        pyarrow.ArrowException, OSError: the file cannot be read.
    """
    if isinstance(part, ds.ParquetFileFragment):
        return _of_parquet(part, columns, encoded, most_bytes)
    if isinstance(part.format, ds.IpcFileFormat):
        return _of_arrow(part.path, columns)
    if isinstance(part.format, ds.CsvFileFormat):
        return csv_batches(part.path, schema, columns, csv_options)
    return json_batches(part.path, schema)


def _of_parquet(
    part: ds.ParquetFileFragment, columns: Sequence[str], encoded: Sequence[str], most_bytes: int
) -> Iterator[pa.RecordBatch]:
    most_rows = _FIRST_ROWS
    with pq.ParquetFile(part.path, read_dictionary=encoded, buffer_size=_READ_BYTES) as file:
        for group in part.row_groups:
            most_encoded_rows = max(group.num_rows * most_bytes // max(group.total_byte_size, 1), 1)
            rows_left = group.num_rows
            rows = _even_share(rows_left, min(most_rows, most_encoded_rows))
            for batch in file.iter_batches(rows, row_groups=[group.id], columns=columns):
                if not batch.num_rows:
                    continue
                batch.validate(full=True)  # Parquet's strings are whatever bytes its writer took for text
                yield batch
                row_bytes = max(plain_bytes(batch, most_bytes) / batch.num_rows, 1)
                most_rows = max(min(_BATCH_ROWS, int(most_bytes / row_bytes)), 1)
                rows_left -= batch.num_rows
                # Of the batch that is read next.
                file.reader.set_batch_size(_even_share(rows_left, min(most_rows, most_encoded_rows)))


def _even_share(rows: int, most: int) -> int:
    """What there is to take of so many rows, and of as many again and again, until none are left: no small rests."""
    return -(-rows // max(-(-rows // most), 1)) or 1


def _of_arrow(path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(path) as file:
        names = pa.ipc.open_file(file).schema.names
        # None would mean all. One that is not wanted tells at least how many rows there are.
        wanted = sorted(map(names.index, columns)) or [0]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            # Arrow follows offsets and dictionary indices unseen: wrong ones kill the process.
            batch.validate(full=True)
            yield batch
