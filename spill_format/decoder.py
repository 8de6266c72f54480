"""Rows of sound messages, all columns or some; and which of Arrow's errors say that bytes cannot be decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .description import selected_fields
from .footer import BLOCK_DTYPE, IndexPlace, encode_footer_frame, encode_place
from .index import MAJOR_VERSION, MINOR_VERSION
from .messages import FILE_START
from .schemas import from_storage
from .structure import Outline


class Decoder:
    """Makes rows of messages whose bytes are sound, all columns of them.

    Args:
        stored_schema, schema: of the file, and of the rows.
        validate: whether every value is looked at: offsets within their buffers, text valid UTF-8. Without, only what
            is followed here is: the values of dictionary-encoded columns.
        trust: even these are not.
    """

    def __init__(self, stored_schema: pa.Schema, schema: pa.Schema, *, validate: bool, trust: bool = False) -> None:
        self._stored_schema = stored_schema
        self.schema = schema
        self._validate = validate
        self._followed = [] if trust else [n for n, field in enumerate(schema) if field.type != stored_schema[n].type]

    def __call__(self, encapsulated: pa.Buffer, metadata_length: int) -> list[pa.RecordBatch]:
        """The rows of one message; several batches where a dictionary has too many values for one."""
        batch = self._stored_batch(encapsulated, metadata_length)
        batch.validate(full=self._validate)
        if self.schema is self._stored_schema:
            return [batch]
        if not self._validate:
            for position in self._followed:
                batch.column(position).validate(full=True)
        return from_storage(batch, self.schema)

    def _stored_batch(self, encapsulated: pa.Buffer, _metadata_length: int) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(encapsulated, self._stored_schema)


class SelectingDecoder(Decoder):
    """Makes rows with some of the columns; the buffers of the others are never looked at.

    Only Arrow's readers of whole files and streams can leave columns out, so each message is read as the only one of an
    Arrow file that is put together for it, without a copy: header, message, footer.
    """

    def __init__(
        self, outline: Outline, stored_schema: pa.Schema, schema: pa.Schema, columns: Sequence[str], *, validate: bool
    ) -> None:
        positions = selected_fields(schema, columns)
        stored = pa.schema([stored_schema.field(position) for position in positions], stored_schema.metadata)
        selected = pa.schema([schema.field(position) for position in positions], schema.metadata)
        super().__init__(stored, stored if schema is stored_schema else selected, validate=validate, trust=not validate)
        self._options = pa.ipc.IpcReadOptions(included_fields=positions)
        # Arrow gives them in the file's order, whatever the order asked for.
        self._order = [sorted(positions).index(position) for position in positions]
        self._header = pa.py_buffer(FILE_START + outline.schema_message)
        note = encode_place(MAJOR_VERSION, MINOR_VERSION, IndexPlace(0, 0, 1))
        self._footer = encode_footer_frame(outline.index.footer_template, note, 1)

    def _stored_batch(self, encapsulated: pa.Buffer, metadata_length: int) -> pa.RecordBatch:
        block = np.array([(len(self._header), metadata_length, len(encapsulated) - metadata_length)], BLOCK_DTYPE)
        end = pa.py_buffer(b"".join((self._footer.start, block.tobytes(), self._footer.end)))
        file = pa.PythonFile(_Joined((self._header, encapsulated, end)), "r")
        batch = pa.ipc.open_file(file, options=self._options).get_batch(0)
        columns = [batch.column(position) for position in self._order]
        return pa.RecordBatch.from_arrays(columns, schema=self._stored_schema)


class _Joined:
    """Buffers as one file for Arrow, which reads slices of them: none crosses a border, and nothing is copied."""

    closed = False

    def __init__(self, buffers: Sequence[pa.Buffer]) -> None:
        self._buffers = buffers
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (sum(map(len, self._buffers)) if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read_buffer(self, byte_count: int) -> pa.Buffer:
        """The next bytes, a slice of what they are in."""
        start = self._position
        self._position += byte_count
        for buffer in self._buffers:
            if start < len(buffer):
                return buffer.slice(start, byte_count)
            start -= len(buffer)
        return pa.py_buffer(b"")

    def read(self, byte_count: int) -> bytes:
        return bytes(self.read_buffer(byte_count).to_pybytes())

    def close(self) -> None:
        """Nothing is open."""
