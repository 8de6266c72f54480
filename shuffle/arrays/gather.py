"""Rows taken out of one column in partition order, each partition's into a place of its own. Pure.

These are the functions in numpy; ``shuffle.native`` has the same in C, which write the same bytes. Where a column is to
go is the caller's business, and so are the bytes that fill up a buffer. Arguments of several:

- ``runs``: which rows; see ``Runs``.
- ``places``: ``int64[R]``, where each run goes in ``out``: in bytes, or in bits where values are bits.
- ``out``: ``uint8[…]``, written in place.

A row that does not exist, or a place outside its buffer, is a ValueError of the compiled functions; of these it may be
an IndexError as well.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]
Int64Array = npt.NDArray[np.int64]


class Runs(NamedTuple):
    """R runs of rows: run r is ``order[starts[r]:starts[r + 1]]``.

    Attributes:
        order: ``uint32[N]``, numbers of rows.
        starts: ``int64[R + 1]``, not descending, from 0.
        codes: where in the column the value of each row is, unsigned; None: at the row's own number.
        code_width: bytes of a code.
        valid: ``bool[rows]``; a row that has no value is written as zeroes or as an empty text. None: all have one.
    """

    order: UInt32Array
    starts: Int64Array
    codes: npt.NDArray[Any] | None = None
    code_width: int = 0
    valid: npt.NDArray[np.bool_] | None = None


def gather_values(values: Any, width: int, runs: Runs, places: Int64Array, out: UInt8Array) -> None:
    """Values of ``width`` bytes each; ``values`` is a buffer of them."""
    count = memoryview(values).nbytes // width
    # Types that are copied at once, whatever the values mean.
    kind = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}.get(width, f"V{width}")
    flat = _taken(np.frombuffer(values, kind, count), runs).view(np.uint8)
    for start, stop, place in _places(runs.starts * width, places):
        out[place : place + stop - start] = flat[start:stop]


def gather_bits(bits: Any, first: int, runs: Runs, places: Int64Array, out: UInt8Array) -> None:
    """Bits, least significant first; value 0 is bit ``first``. What a run's first byte has before its place stays, and
    the rest of its last byte is zero."""
    taken = _taken(np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[first:], runs)
    for start, stop, place in _places(runs.starts, places):
        if start < stop:
            byte, bit = divmod(place, 8)
            before = np.unpackbits(out[byte : byte + 1], bitorder="little")[:bit]
            packed = np.packbits(np.concatenate([before, taken[start:stop]]), bitorder="little")
            out[byte : byte + len(packed)] = packed


def text_lengths(offsets: Any, width: int, runs: Runs, sums: Int64Array) -> None:
    """Bytes of the texts of each run, into ``sums``, ``int64[R]``; ``offsets`` have ``width`` bytes, 4 or 8."""
    ends = _ends(_taken(np.diff(_offsets(offsets, width)), runs))
    sums[:] = ends[runs.starts[1:]] - ends[runs.starts[:-1]]


def gather_texts(  # noqa: PLR0913, PLR0917 -- all are arrays, as the compiled function takes them
    offsets: Any,
    width: int,
    data: Any,
    runs: Runs,
    offset_places: Int64Array,
    text_places: Int64Array,
    text_stops: Int64Array,
    bases: Int64Array,
    out: UInt8Array,
) -> None:
    """Texts, and one offset more than there are of them.

    Args:
        text_places, text_stops: ``int64[R]``, the room for the texts of each run in ``out``.
        bases: ``int64[R]``, how many bytes there are taken already: they come before the run's texts, and its offsets
            begin with them. Afterwards those of the run are counted, too. What follows them may be anything.
    """
    from_offsets = _offsets(offsets, width)
    ends = _ends(_taken(np.diff(from_offsets), runs))
    taken = _taken_texts(offsets, width, data, runs)
    stops = ends[runs.starts]
    lengths = np.diff(stops)
    if (text_places + bases + lengths > text_stops).any():
        raise ValueError("texts that do not fit")
    # Each run has an offset more than it has texts: its last one is the first one of the next run once more.
    counts = np.diff(runs.starts) + 1
    firsts = np.concatenate([[0], np.cumsum(counts)])
    sources = np.arange(firsts[-1]) - np.repeat(np.arange(len(counts)), counts)
    own = (ends[sources] + np.repeat(bases - stops[:-1], counts)).astype(from_offsets.dtype).view(np.uint8)
    for start, stop, place in _places(firsts * width, offset_places):
        out[place : place + stop - start] = own[start:stop]
    for start, stop, place in _places(stops, text_places + bases):
        out[place : place + stop - start] = taken[start:stop]
    bases += lengths


def _taken_texts(offsets: Any, width: int, data: Any, runs: Runs) -> UInt8Array:
    """The bytes of the texts in the order of the runs, by Arrow: numpy would need an index for each byte."""
    order = runs.order if runs.valid is None else runs.order[runs.valid[runs.order]]
    rows = order if runs.codes is None else runs.codes[order].astype(np.uint32)
    kind = pa.binary() if width == 4 else pa.large_binary()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    texts = pa.Array.from_buffers(kind, memoryview(offsets).nbytes // width - 1, buffers)
    indices = pa.Array.from_buffers(pa.uint32(), len(rows), [None, pa.py_buffer(rows)])
    taken = pc.take(texts, indices, boundscheck=False, memory_pool=pa.system_memory_pool()).buffers()[2]
    return np.frombuffer(taken or b"", np.uint8)


def _offsets(offsets: Any, width: int) -> npt.NDArray[Any]:
    return np.frombuffer(offsets, np.int32 if width == 4 else np.int64)


def _ends(lengths: npt.NDArray[Any]) -> Int64Array:
    """Where each text ends if they stand behind each other; first of all 0."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends


def _taken(source: npt.NDArray[Any], runs: Runs) -> npt.NDArray[Any]:
    """Elements of a column in the order of the runs; zeroes where there is no value."""
    order = runs.order
    if runs.valid is None:
        return source[order if runs.codes is None else runs.codes[order]]
    taken = np.zeros(len(order), source.dtype)
    has_value = runs.valid[order]
    order = order[has_value]
    taken[has_value] = source[order if runs.codes is None else runs.codes[order]]
    return taken


def _places(starts: Int64Array, places: Int64Array) -> Iterable[tuple[int, int, int]]:
    """Start, stop and place of each run."""
    return zip(starts[:-1].tolist(), starts[1:].tolist(), places.tolist(), strict=True)
