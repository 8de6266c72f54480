"""Messages where the system gives Arrow no thread (``ulimit -u``, a container's limit).

Arrow compresses and decompresses buffers in threads of its own, and fails where it can start none: that says nothing of
the bytes. What is read and written is the business of others.
"""
# PURE

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa
import pyarrow.ipc

Result = TypeVar("Result")

_NO_THREAD = "Failed to launch worker thread"


def with_threads(act: Callable[[bool], Result]) -> Result:
    """Call ``act(True)``: with Arrow's threads. If the system gives none, call ``act(False)``: without."""
    try:
        return act(True)
    except pa.ArrowException as error:
        if _NO_THREAD not in str(error):
            raise
    return act(False)


def read_message(message: pa.Buffer, schema: pa.Schema) -> pa.RecordBatch:
    """Decode a record batch message.

    Raises:
        MemoryError, or an error of ``UNDECODABLE``: Arrow cannot.
    """

    def read(use_threads: bool) -> pa.RecordBatch:
        if use_threads:
            return pa.ipc.read_record_batch(message, schema)
        # Only the readers of streams and files can do without threads.
        stream = b"".join((schema.serialize(), message))
        return pa.ipc.open_stream(stream, options=pa.ipc.IpcReadOptions(use_threads=False)).read_next_batch()

    return with_threads(read)
