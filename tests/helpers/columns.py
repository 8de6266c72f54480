"""Columns of every type that is stored, also of those that Arrow cannot take rows of."""

import numpy as np
import pyarrow as pa

COUNT = 3000
TEXTS = [None if row % 7 == 0 else f"text {row}" for row in range(COUNT)]
COLUMNS = {
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary_view": pa.array([t and t.encode() * 3 for t in TEXTS], pa.binary_view()),
    "list": pa.array([[t, "b"] if t else None for t in TEXTS]),
    "list_view": pa.array([[t, "b"] if t else None for t in TEXTS], pa.list_view(pa.string_view())),
    "struct": pa.array([{"a": t, "b": row} for row, t in enumerate(TEXTS)]),
    "map": pa.array([[("k", t)] for t in TEXTS], pa.map_(pa.string(), pa.string_view())),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "run ends": pa.RunEndEncodedArray.from_arrays(pa.array(range(2, COUNT + 1, 2), pa.int32()), pa.array(TEXTS[::2])),
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1] * (COUNT // 2), pa.int8()),
        pa.array(np.repeat(np.arange(COUNT // 2), 2), pa.int32()),
        [pa.array(range(COUNT // 2)), pa.array(TEXTS[::2])],
    ),
    "sparse union": pa.UnionArray.from_sparse(
        pa.array([0, 1] * (COUNT // 2), pa.int8()), [pa.array(range(COUNT)), pa.array(TEXTS)]
    ),
    "union of views": pa.UnionArray.from_sparse(
        pa.array([0, 1] * (COUNT // 2), pa.int8()), [pa.array(range(COUNT)), pa.array(TEXTS, pa.string_view())]
    ),
    "decimal": pa.array(range(COUNT), pa.decimal128(38, 2)),
    "boolean": pa.array([None, True, False] * (COUNT // 3)),
    "null": pa.nulls(COUNT),
    "interval": pa.array([(1, 2, 3)] * COUNT, pa.month_day_nano_interval()),
    "fixed": pa.array([b"abc"] * COUNT, pa.binary(3)),
    "extension": pa.array([b"u" * 16] * COUNT, pa.uuid()),
    "time": pa.array(range(COUNT), pa.timestamp("ns", "Europe/Berlin")),
}
