"""The little of Arrow's flatbuffers that is read without pyarrow: the fields of a table, and vectors.

Pure. A flatbuffer table starts with the signed distance back to its vtable: uint16 sizes, then one uint16 a field, the
distance from the table's start or 0. A field that is a vector or a table holds the unsigned distance from itself to it.
What leads out of the buffer is a ``struct.error``, as where struct itself notices.
"""
# PURE

from __future__ import annotations

import struct


def field_position(flatbuffer: bytes | bytearray, slot: int, table: int | None = None) -> int | None:
    """Where field number ``slot`` of a table (the root, unless told) is, or None where the field is absent."""
    if table is None:
        table = unsigned(flatbuffer, 0)
    (vtable_distance,) = struct.unpack_from("<i", flatbuffer, table)
    vtable = table - vtable_distance
    if vtable < 0:  # struct would count from the end
        raise struct.error("a vtable before the buffer")
    (vtable_length,) = struct.unpack_from("<H", flatbuffer, vtable)
    entry = 4 + 2 * slot
    if entry + 2 > vtable_length:
        return None
    (distance,) = struct.unpack_from("<H", flatbuffer, vtable + entry)
    if distance and table + distance + 4 > len(flatbuffer):
        raise struct.error("a field behind the buffer")
    return table + distance if distance else None


def vector(flatbuffer: bytes | bytearray, field: int, element_length: int) -> slice:
    """Where the elements of the vector or string are that a field points to."""
    start = field + unsigned(flatbuffer, field)
    stop = start + 4 + element_length * unsigned(flatbuffer, start)
    if stop > len(flatbuffer):
        raise struct.error("a vector that overruns the buffer")
    return slice(start + 4, stop)


def unsigned(flatbuffer: bytes | bytearray, position: int) -> int:
    """The uint32 at a position."""
    return int(struct.unpack_from("<I", flatbuffer, position)[0])


def signed(flatbuffer: bytes | bytearray, position: int) -> int:
    """The int64 at a position."""
    return int(struct.unpack_from("<q", flatbuffer, position)[0])
