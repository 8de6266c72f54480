"""Blocks of rows as messages: each row once, in its partition, in order; whichever encoder and functions make them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.arrays import gather
from shuffle.arrays.flat_columns import flat_layout
from shuffle.mapping.arrow_block import ArrowEncoder
from shuffle.mapping.block_order import check_partition_numbers, stable_order
from shuffle.mapping.encoded_block import BlockEncoder, EncodedMessage, Rows, in_partition_order
from shuffle.mapping.flat_block import FlatEncoder, flat_layouts
from shuffle.mapping.windows import windows
from shuffle.native import compiled
from shuffle.partitioners.protocol import PartitionNumbers
from spill_format.checksum import crc32c


def numbers_of(values: npt.ArrayLike, dtype: type = np.uint16) -> PartitionNumbers:
    return np.asarray(values, dtype=dtype)


def encoders_of(schema: pa.Schema) -> list[BlockEncoder]:
    layouts = flat_layouts(schema)
    assert layouts is not None
    return [
        FlatEncoder(schema, layouts, compiled("gather") or gather),
        FlatEncoder(schema, layouts, gather),
        ArrowEncoder(schema, None),
    ]


def messages_of(encoder: BlockEncoder, rows: Sequence[Rows], most_rows: int = 1 << 30) -> list[EncodedMessage]:
    block = encoder.encode(rows, most_rows, lambda byte_count: np.full(byte_count + 9, 0xA5, np.uint8))
    return list(in_partition_order([block]))


def content(message: EncodedMessage) -> bytes:
    return bytes(message.metadata) + b"".join(map(bytes, message.body))


def decoded(message: EncodedMessage, schema: pa.Schema) -> pa.RecordBatch:
    batch = pa.ipc.read_record_batch(pa.py_buffer(content(message)), schema)
    batch.validate(full=True)
    assert batch.num_rows == message.row_count
    assert crc32c(b"".join(map(bytes, message.body))) == message.body_checksum
    return batch


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("partition_count", [1, 2, 255, 65536])
def test_order_is_stable(dtype: type, partition_count: int) -> None:
    numbers = numbers_of(np.random.default_rng(1).integers(0, partition_count, 5000), dtype)
    np.testing.assert_array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))


def test_order_of_more_partitions_than_16_bits_number() -> None:
    numbers = numbers_of(np.random.default_rng(1).integers(0, 2**31 - 1, 5000), np.uint32)
    np.testing.assert_array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (numbers_of([0, 1]), "3 rows need as many partition numbers"),
        (numbers_of([[0], [1], [2]]), "3 rows need as many"),
        (np.array([0, 1, 2], np.int64), "must be uint16 or uint32, not int64"),
        (numbers_of([0, 7, 1]), "row 1 has partition number 7: there are 5, from 0"),
    ],
)
def test_wrong_partition_numbers_are_refused(numbers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_partition_numbers(numbers, 3, 5)


TEXTS = [None, "", "a", "bcd", "ä", "x" * 31, "y" * 32, "z" * 33, "w" * 200]
TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [None, -1, 2]),
    "int32": (pa.int32(), [None, -1, 2]),
    "float64": (pa.float64(), [None, float("nan"), -0.0]),
    "decimal": (pa.decimal128(20, 2), [None, -1, 2]),
    "large decimal": (pa.decimal256(50, 2), [None, -1, 2]),
    "three bytes": (pa.binary(3), [None, b"abc"]),
    "boolean": (pa.bool_(), [None, True, False]),
    "text": (pa.string(), TEXTS),
    "large text": (pa.large_string(), TEXTS),
    "view": (pa.string_view(), TEXTS),
    "bytes": (pa.binary(), [None, b"", b"\0\xff"]),
    "interval": (pa.month_day_nano_interval(), [None, (1, 2, 3)]),
    "extension": (pa.uuid(), [None, bytes(16)]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    "dictionary of numbers": (pa.dictionary(pa.uint16(), pa.int64()), [None, 3, 4]),
}


def array_of(
    random: np.random.Generator, kind: pa.DataType, values: list[Any], count: int, has_nulls: bool
) -> pa.Array:
    """Values of a type, as a slice of a longer array."""
    choice = values if has_nulls else values[1:]
    chosen = [choice[place] for place in random.integers(0, len(choice), count + 5)]
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(pa.array(chosen, kind.storage_type)).slice(3, count)
    return pa.array(chosen, kind).slice(3, count)


def plain_field(name: str, kind: pa.DataType) -> pa.Field:
    if pa.types.is_string_view(kind):
        return pa.field(name, pa.string())
    return pa.field(name, kind.value_type if pa.types.is_dictionary(kind) else kind)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 40), st.sampled_from([1, 5, 1 << 30]))
def test_every_encoder_makes_the_same_rows_of_every_type(
    seed: int, batch_count: int, partition_count: int, most_rows: int
) -> None:
    random = np.random.default_rng(seed)
    names = random.permutation(list(TYPES))[: random.integers(1, 6)].tolist()
    schema = pa.schema([plain_field(name, TYPES[name][0]) for name in names])
    rows: list[Rows] = []
    for _ in range(batch_count):
        count = int(random.integers(1, 60))
        arrays = [array_of(random, *TYPES[name], count, random.random() < 0.5) for name in names]
        numbers = numbers_of(random.integers(0, partition_count, count))
        rows.append((pa.RecordBatch.from_arrays(arrays, names), numbers))
    native, in_numpy, by_arrow = (messages_of(encoder, rows, most_rows) for encoder in encoders_of(schema))
    assert list(map(content, native)) == list(map(content, in_numpy))
    assert [message.partition for message in native] == sorted(message.partition for message in native)
    for partition in range(partition_count):
        tables = [
            pa.Table.from_batches([decoded(each, schema) for each in made if each.partition == partition], schema)
            for made in (native, by_arrow)
        ]
        assert tables[0].to_pylist().__repr__() == tables[1].to_pylist().__repr__()


def test_a_dictionary_may_hold_nulls_and_what_lies_under_nulls_may_be_anything() -> None:
    codes = pa.Array.from_buffers(
        pa.int8(), 4, [pa.py_buffer(b"\x0d"), pa.py_buffer(np.array([0, 99, 2, 1], np.int8))], null_count=1
    )
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["a", None, "c"]), safe=False)
    schema = pa.schema([("text", pa.string())])
    rows: list[Rows] = [(pa.RecordBatch.from_arrays([column], ["text"]), numbers_of([0, 0, 0, 0]))]
    for encoder in encoders_of(schema)[:2]:
        ((message),) = messages_of(encoder, rows)
        assert decoded(message, schema)["text"].to_pylist() == ["a", None, "c", None]


def test_a_large_partition_is_cut_by_batches_and_the_others_are_not() -> None:
    rows: list[Rows] = [
        (pa.record_batch({"row": np.arange(10) + 10 * number}), numbers_of([0] + 8 * [1] + [2])) for number in range(3)
    ]
    schema = rows[0][0].schema
    for encoder in encoders_of(schema)[:2]:
        messages = messages_of(encoder, rows, most_rows=10)
        assert [(each.partition, each.row_count) for each in messages] == [(0, 3), (1, 8), (1, 8), (1, 8), (2, 3)]
        assert decoded(messages[2], schema)["row"].to_pylist() == list(range(11, 19))


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.null(), pa.run_end_encoded(pa.int32(), pa.int8())]
)
def test_types_of_other_shapes_are_left_to_arrow(kind: pa.DataType) -> None:
    assert flat_layout(kind) is None
    assert flat_layouts(pa.schema([("a", pa.int8()), ("b", kind)])) is None


def test_no_columns_are_left_to_arrow() -> None:
    assert flat_layouts(pa.schema([])) is None


@pytest.mark.parametrize("in_sequence", [True, False])
def test_messages_may_be_asked_for_in_any_order(in_sequence: bool) -> None:
    numbers = numbers_of(np.arange(1000) % 600)
    rows = pa.record_batch({"row": np.arange(1000)})
    block = encoders_of(rows.schema)[0].encode([(rows, numbers)], 1000, lambda count: np.empty(count, np.uint8))
    places = list(range(600)) if in_sequence else np.random.default_rng(1).permutation(600).tolist()
    for place in places:
        message = block.message(place)
        assert message.partition == place
        assert decoded(message, rows.schema)["row"].to_pylist() == list(range(place, 1000, 600))


# partitions, rows, batches, share of rows outside the largest partition
SHAPES = {
    "one row": (1, 1, 1, 1.0),
    "one partition": (1, 5000, 3, 1.0),
    "small partitions": (3000, 30_000, 10, 1.0),
    "more partitions than rows": (60_000, 1000, 4, 1.0),
    "one large among small": (2000, 50_000, 7, 0.1),
}


@pytest.mark.parametrize(("partition_count", "row_count", "batch_count", "share"), SHAPES.values(), ids=SHAPES)
def test_windows_hold_every_row_once_in_order(
    partition_count: int, row_count: int, batch_count: int, share: float
) -> None:
    random = np.random.default_rng(2)
    numbers = numbers_of(random.integers(0, partition_count, row_count))
    numbers[random.random(row_count) > share] = partition_count // 2
    places = np.array_split(np.arange(row_count), batch_count)
    rows: list[Rows] = [(pa.record_batch({"row": place}), numbers[place]) for place in places if len(place)]
    cut = list(windows(rows, partition_count, 8 * row_count, 8 * 1000))
    found = []
    for window in cut:
        sizes = [batch.num_rows for batch, _ in window]
        assert sum(sizes) <= max(1000, *sizes)
        of_window = np.concatenate([of_batch for _, of_batch in window])
        in_order = np.concatenate([batch["row"].to_numpy() for batch, _ in window])[stable_order(of_window)]
        found.append(in_order)
    np.testing.assert_array_equal(np.concatenate(found), np.argsort(numbers, kind="stable"))
