"""Record batches as Arrow IPC messages: metadata and body, the body in pieces that are copied only if they are small.

What is between messages, and where they go, is ``writer.py``'s business.
"""
# PURE

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.ipc

from .arrow_threads import with_threads
from .messages import metadata_length_of

_COPIED_BYTES = 4 << 20  # up to here, one copy costs less than a call for each buffer; beyond, it would cost memory


class Message(NamedTuple):
    """A serialized record batch: metadata with its prefix, and the body in pieces."""

    metadata: memoryview
    body: tuple[bytes | memoryview, ...]


class Serializer:
    """Turns record batches of one schema into messages, their bodies compressed with None, ``"lz4"`` or ``"zstd"``."""

    def __init__(self, schema: pa.Schema, compression: str | None) -> None:
        self._schema = schema
        self._compression = compression
        self._open(use_threads=True)

    def serialize(self, batch: pa.RecordBatch) -> Message:
        """The batch's message. Pieces of a large body may be the batch's own memory."""
        if self._compression is None and batch.nbytes <= _COPIED_BYTES:
            # Arrow's usual pool keeps much of what is freed by another thread than allocated it.
            message = memoryview(batch.serialize(memory_pool=pa.system_memory_pool()))
            metadata_length = metadata_length_of(message)
            return Message(message[:metadata_length], (message[metadata_length:],))
        with_threads(partial(self._write, batch))
        pieces = self._sink.take()
        while self._schema_length:
            self._schema_length -= len(pieces.pop(0))
        metadata = b""
        while len(metadata) < 8 or len(metadata) < metadata_length_of(metadata):
            metadata += pieces.pop(0)
        return Message(memoryview(metadata), tuple(pieces))

    def _write(self, batch: pa.RecordBatch, use_threads: bool) -> None:
        if not use_threads:
            self._open(use_threads=False)
        self._stream.write_batch(batch)

    def _open(self, *, use_threads: bool) -> None:
        self._sink = _Pieces()
        # RecordBatch.serialize() takes no options and makes one piece; a stream hands on the buffers it is given.
        options = pa.ipc.IpcWriteOptions(compression=self._compression, use_threads=use_threads)
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._sink, "w"), self._schema, options=options)
        self._schema_length = self._schema.serialize().size  # the stream puts the schema message before its first batch


class _Pieces:
    """What Arrow needs a file to be, and no more: it keeps what it is given, without a copy."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self._position = 0

    def write(self, piece: bytes | pa.Buffer) -> int:
        self._pieces.append(memoryview(piece))
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> list[memoryview]:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces
