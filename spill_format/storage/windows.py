"""Small reads of a file that is far away, answered out of larger ones."""
# PURE

from __future__ import annotations

from collections.abc import Callable

ReadAt = Callable[[int, int], bytes]
"""Gives ``byte_count`` bytes from ``offset`` of a file, both in this order, or raises; never fewer."""

_HEAD_BYTES = 8 << 10  # magic and schema message of most files
_TAIL_BYTES = 64 << 10  # footer and index of some 500 partitions of a batch each
_MARGIN_BYTES = 64 << 10  # what is read before few bytes asked for: an index section is read from its end on
_SMALL_BYTES = 4 << 10


class ReadWindows:
    """Answers small reads of a file out of larger ones: its start, its end, and what lies just before its footer."""

    def __init__(self, read: ReadAt, byte_count: int) -> None:
        self._read = read
        self._byte_count = byte_count
        self._windows: list[tuple[int, bytes]] = []

    def __call__(self, offset: int, byte_count: int) -> bytes:
        """Return bytes of the file, as ``OpenFile.read_at`` does."""
        stop = offset + byte_count
        for start, content in self._windows:
            if start <= offset and stop <= start + len(content):
                return content[offset - start : stop - start]
        if not self._windows:  # the end first: of a small file it is all
            self._keep(max(0, self._byte_count - _TAIL_BYTES), self._byte_count)
        elif offset < _HEAD_BYTES:
            self._keep(0, min(max(stop, _HEAD_BYTES), self._byte_count))
        else:
            margin = _MARGIN_BYTES if byte_count < _SMALL_BYTES else 0
            self._keep(max(0, offset - margin), min(stop, self._byte_count))
        return self(offset, byte_count)

    def _keep(self, start: int, stop: int) -> None:
        self._windows.append((start, self._read(start, stop - start)))
