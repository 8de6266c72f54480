"""What follows the ranges of a file: end-of-stream marker, index section, Arrow footer.

Pure, and free of pyarrow. A file that is written and the target of a merge end with the same bytes for the same index.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterator

from .footer import BLOCK_DTYPE, IndexPlace, encode_footer_frame, encode_place
from .index import MAJOR_VERSION, MINOR_VERSION, PartitionIndex
from .messages import END_OF_STREAM


class TrailerContent:
    """The bytes behind the last range, iterable in pieces; no piece grows with the number of ranges.

    Args:
        index: of the whole file.
        note: the footer's note of the index section, by default the one that this version writes.

    Raises:
        ValueError: the index has no footer template, or more record batches than a footer can list.
    """

    def __init__(self, index: PartitionIndex, note: str | None = None) -> None:
        self._index = index
        if note is None:
            offset = int(index.layout.offsets[-1]) + len(END_OF_STREAM)
            place = IndexPlace(offset, index.encoded_length, index.layout.partition_count)
            note = encode_place(MAJOR_VERSION, MINOR_VERSION, place)
        self._frame = encode_footer_frame(index.footer_template, note, len(index.body_lengths))

    def __len__(self) -> int:
        return len(END_OF_STREAM) + self._index.encoded_length + self.footer_length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield END_OF_STREAM
        yield from self._index.encode_pieces()
        yield from self.footer_pieces()

    @property
    def footer_length(self) -> int:
        """Bytes of the footer, its length field and the closing magic."""
        return len(self._frame.start) + len(self._index.body_lengths) * BLOCK_DTYPE.itemsize + len(self._frame.end)

    def footer_pieces(self) -> Iterator[bytes | memoryview]:
        """The footer alone, to the end of the file."""
        yield self._frame.start
        for blocks in self._index.blocks():
            yield blocks.data.cast("B")
        yield self._frame.end
