"""JSON documents about served files, made in short pieces, so that a long document takes little memory. Pure."""
# PURE

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuffle.serve.catalog import Listed, ServedFile

_FILES_AT_ONCE = 256


def layout_document(file: ServedFile) -> Iterator[bytes]:
    """Yield the layout of a file: its sizes, and offset, rows and checksum of each partition.

    Raises:
        SpillError: the index is damaged; may come after the first pieces.
    """
    head = {
        "name": file.name,
        "bytes": file.outline.byte_count,
        "partitions": file.partition_count,
        "alignment": file.outline.index.summary.alignment,
    }
    yield json.dumps(head)[:-1].encode() + b', "offsets": ['
    for number, layout in enumerate(file.layouts()):
        yield _entries((layout.offsets if number == 0 else layout.offsets[1:]).tolist(), int, is_first=number == 0)
    yield b'], "rows": ['
    for number, layout in enumerate(file.layouts()):
        assert layout.rows is not None  # an index always has them
        yield _entries(layout.rows.tolist(), int, is_first=number == 0)
    yield b'], "crc32c": ['
    for number, layout in enumerate(file.layouts()):
        assert layout.crc32c is not None
        yield _entries(layout.crc32c.tolist(), "{:08x}".format, is_first=number == 0)
    yield b"]}"


def listing_document(listing: list[Listed]) -> Iterator[bytes]:
    """Yield the list of all files, with the size or the problem of each."""
    yield b'{"files": ['
    for start in range(0, len(listing), _FILES_AT_ONCE):
        yield _entries(listing[start : start + _FILES_AT_ONCE], _shown_file, is_first=start == 0)
    yield b"]}"


def _entries(entries: Iterable[Any], shown: Callable[[Any], object], *, is_first: bool) -> bytes:
    text = json.dumps([shown(entry) for entry in entries])[1:-1]
    return (text if is_first else f", {text}").encode()


def _shown_file(listed: Listed) -> object:
    return {
        "name": listed.name,
        "bytes": listed.byte_count,
        "partitions": listed.partition_count,
        "rows": listed.row_count,
        "problem": listed.problem,
    }
