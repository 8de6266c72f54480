"""Rows of sound messages, all columns or some; and which of Arrow's errors say that bytes cannot be decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .arrow_threads import read_message, with_threads
from .description import selected_fields
from .footer import BLOCK_DTYPE, IndexPlace, encode_footer_frame, encode_place
from .index import MAJOR_VERSION, MINOR_VERSION, IndexPart
from .messages import FILE_START
from .schemas import from_storage
from .structure import Outline

_NOTE = encode_place(MAJOR_VERSION, MINOR_VERSION, IndexPlace(0, 0, 1))


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

    def begin(self, part: IndexPart, content: pa.Buffer, origin: int) -> None:
        """Messages come from ``content``, which starts at ``origin`` in the file and with a message, from now on."""

    def __call__(self, message: int, encapsulated: pa.Buffer) -> list[pa.RecordBatch]:
        """The rows of a message of the part; several batches where a dictionary has too many values for one."""
        batch = self._stored_batch(message, encapsulated)
        batch.validate(full=self._validate)
        if self.schema is self._stored_schema:
            return [batch]
        if not self._validate:
            for position in self._followed:
                batch.column(position).validate(full=True)
        return from_storage(batch, self.schema)

    def _stored_batch(self, _message: int, encapsulated: pa.Buffer) -> pa.RecordBatch:
        return read_message(encapsulated, self._stored_schema)


class SelectingDecoder(Decoder):
    """Makes rows with some of the columns; the buffers of the others are never looked at.

    Only Arrow's readers of whole files and streams can leave columns out. So messages are read from an Arrow file that
    is put together for them, without a copy: header, some ranges, and a footer that lists their messages alone. Or they
    are read from the ``whole`` file, where it is mapped, its footer found right, and a part of its index is all of it.
    """

    def __init__(
        self,
        outline: Outline,
        stored_schema: pa.Schema,
        schema: pa.Schema,
        columns: Sequence[str],
        *,
        validate: bool,
        whole: pa.Buffer | None = None,
    ) -> None:
        positions = selected_fields(schema, columns)
        stored = pa.schema([stored_schema.field(position) for position in positions], stored_schema.metadata)
        selected = pa.schema([schema.field(position) for position in positions], schema.metadata)
        super().__init__(stored, stored if schema is stored_schema else selected, validate=validate, trust=not validate)
        self._positions = positions
        # Arrow gives them in the file's order, whatever the order asked for.
        self._order = [sorted(positions).index(position) for position in positions]
        self._header = pa.py_buffer(FILE_START + outline.schema_message)
        self._template = outline.index.footer_template
        self._is_whole = whole is not None
        if whole is not None:
            self._open(whole, 0)

    def begin(self, part: IndexPart, content: pa.Buffer, origin: int) -> None:
        """See ``Decoder``."""
        if self._is_whole:
            return
        start, stop = part.message_offsets.searchsorted([origin, origin + len(content)]).tolist()
        blocks = np.zeros(stop - start, dtype=BLOCK_DTYPE)
        blocks["offset"] = part.message_offsets[start:stop] - origin + len(self._header)
        blocks["metadata_length"] = part.of_these.metadata_lengths[start:stop]
        blocks["body_length"] = part.of_these.body_lengths[start:stop]
        footer = encode_footer_frame(self._template, _NOTE, len(blocks))
        end = pa.py_buffer(b"".join((footer.start, blocks.tobytes(), footer.end)))
        self._open(pa.PythonFile(_Joined((self._header, content, end)), "r"), start)

    def _open(self, source: pa.Buffer | pa.PythonFile, first: int) -> None:
        """Messages come from an Arrow file, whose first record batch is message ``first``, from now on."""

        def opened(use_threads: bool) -> pa.RecordBatchFileReader:
            options = pa.ipc.IpcReadOptions(included_fields=self._positions, use_threads=use_threads)
            return pa.ipc.open_file(source, options=options)

        self._file, self._first = cache(opened), first

    def _stored_batch(self, message: int, _encapsulated: pa.Buffer) -> pa.RecordBatch:
        batch = with_threads(lambda use_threads: self._file(use_threads).get_batch(message - self._first))
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
