"""The messages of a stream as its bytes arrive: each message is yielded once its own seal is found right.

Whether the whole stream is the one that was recorded is told by its checksum, at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.ipc

from spill_format.arrow_threads import read_message
from spill_format.checksum import crc32c
from spill_format.errors import CorruptError, SpillError
from spill_format.messages import (
    END_OF_STREAM,
    PREFIX_LENGTH,
    find_body_defect,
    find_metadata_defect,
    metadata_length_of,
    read_batch_size,
)
from spill_format.stream import check_schema_message
from spill_format.undecodable import decoding


class SealedMessages:
    """Cuts a stream into messages.

    Args:
        byte_count: length of the stream.
        url: where it comes from, for errors.
        validate: whether the values of each message are checked, too.
    """

    def __init__(self, byte_count: int, url: str, *, validate: bool) -> None:
        self.position: int = 0
        """Bytes of the stream that were yielded."""
        self.crc32c: int = 0
        """CRC-32C of all messages that were yielded, without the first, which has the schema."""
        self._stop = byte_count - len(END_OF_STREAM)
        self._url = url
        self._validate = validate
        self._schema: pa.Schema | None = None
        self._waiting = bytearray()
        self._length: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all messages and the end-of-stream marker were yielded."""
        return self._schema is not None and self.position > self._stop

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next bytes of the stream; yield the messages that they complete, and the end-of-stream marker.

        Raises:
            SpillError: a message is damaged; the bytes from ``position`` on must arrive again.
        """
        self._waiting += piece
        try:
            while (length := self._known_length()) is not None and len(self._waiting) >= length:
                message = bytes(self._waiting[:length])
                self._check(message)
                del self._waiting[:length]
                self._length = None
                self.position += length
                yield message
        except SpillError:
            self._waiting.clear()
            self._length = None
            raise

    def _known_length(self) -> int | None:
        """Bytes of the message, or of the marker, that is waiting; None while that is unknown."""
        if self._length is None:
            if self.position >= self._stop:
                self._length = len(END_OF_STREAM)
            elif len(self._waiting) >= PREFIX_LENGTH:
                self._length = self._length_of_message()
        return self._length

    def _length_of_message(self) -> int | None:
        try:
            metadata_length = metadata_length_of(bytes(self._waiting[:PREFIX_LENGTH]))
            self._check_room(metadata_length)
            if self._schema is None:
                return metadata_length
            if len(self._waiting) < metadata_length:
                return None
            metadata = bytes(self._waiting[:metadata_length])
            if (defect := find_metadata_defect(metadata, None)) is not None:
                raise defect.error(self._url, None, self.position, advice=None)
            length = metadata_length + read_batch_size(metadata).body_bytes
        except ValueError as error:
            raise CorruptError(f"not a message ({error})", path=self._url, offset=self.position) from error
        self._check_room(length)
        return length

    def _check_room(self, length: int) -> None:
        if self.position + length > self._stop:
            raise ValueError(f"a length of {length} bytes, which overruns the stream")

    def _check(self, message: bytes) -> None:
        if self.position >= self._stop:
            if message != END_OF_STREAM:
                raise CorruptError("end-of-stream marker", path=self._url, expected=END_OF_STREAM, actual=message)
            return
        if self._schema is None:
            check_schema_message(message, self._url)
            self._schema = _decoded_schema(message, self._url)
            return
        metadata_length = metadata_length_of(message[:PREFIX_LENGTH])
        view = memoryview(message)
        if (defect := find_body_defect(view[:metadata_length], view[metadata_length:])) is not None:
            raise defect.error(self._url, None, self.position, advice=None)
        if self._validate:
            _check_values(message, self._schema, self._url, self.position)
        self.crc32c = crc32c(message, self.crc32c)


def _decoded_schema(message: bytes, url: str) -> pa.Schema:
    with decoding("the schema message", url, 0):
        return pa.ipc.read_schema(pa.py_buffer(message))


def _check_values(message: bytes, schema: pa.Schema, url: str, position: int) -> None:
    with decoding("a record batch", url, position, byte_count=len(message)):
        read_message(pa.py_buffer(message), schema).validate(full=True)
