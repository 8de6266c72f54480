"""How dictionary-encoded columns are stored and given back, and what makes two schemas differ.

What types there are is walked through in tests/interop/test_arrow_readers.py and tests/property/test_format_laws.py.
"""

from __future__ import annotations

import pyarrow as pa
import pytest

from spill_format.schemas import (
    ORIGINAL_SCHEMA_KEY,
    describe_difference,
    from_storage,
    original_schema,
    storage_schema,
    stored_type,
    to_storage,
)

WORD = pa.dictionary(pa.int8(), pa.string())


def test_a_schema_without_dictionaries_is_stored_as_it_is() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string()))], metadata={"k": "v"})
    assert storage_schema(schema) is schema
    assert original_schema(schema) is schema


def test_a_schema_with_dictionaries_comes_back_with_its_metadata() -> None:
    field = pa.field("d", WORD, nullable=False, metadata={"of": "field"})
    schema = pa.schema([field, ("n", pa.int64())], metadata={"of": "schema"})
    stored = storage_schema(schema)
    assert stored.field("d").type == pa.string()
    assert stored.field("d").metadata == {b"of": b"field"}
    assert set(stored.metadata) == {b"of", ORIGINAL_SCHEMA_KEY}
    assert original_schema(stored).equals(schema, check_metadata=True)


def test_an_original_of_other_columns_is_left_out() -> None:
    stored = storage_schema(pa.schema([("d", WORD), ("n", pa.int64())], metadata={"of": "schema"}))
    assert storage_schema(stored) is stored
    for fields in ([stored.field("n")], [*stored, pa.field("year", pa.int32())]):
        chosen = storage_schema(pa.schema(fields, metadata=stored.metadata))
        assert chosen.equals(pa.schema(fields, metadata={"of": "schema"}), check_metadata=True)
    assert storage_schema(stored.with_metadata({ORIGINAL_SCHEMA_KEY: b"none"})).metadata == {}


@pytest.mark.parametrize(
    ("data_type", "plain"),
    [
        (WORD, pa.string()),
        (pa.dictionary(pa.int8(), WORD.value_type, ordered=True), pa.string()),
        (pa.list_(WORD), pa.list_(pa.string())),
        (pa.large_list(WORD), pa.large_list(pa.string())),
        (pa.list_view(WORD), pa.list_view(pa.string())),
        (pa.large_list_view(WORD), pa.large_list_view(pa.string())),
        (pa.list_(WORD, 3), pa.list_(pa.string(), 3)),
        (pa.struct([("a", WORD)]), pa.struct([("a", pa.string())])),
        (pa.map_(pa.string(), WORD, keys_sorted=True), pa.map_(pa.string(), pa.string(), keys_sorted=True)),
        (pa.list_(pa.struct([("a", pa.list_(WORD))])), pa.list_(pa.struct([("a", pa.list_(pa.string()))]))),
        (pa.opaque(WORD, "kind", "vendor"), pa.string()),
        (pa.opaque(pa.string(), "kind", "vendor"), pa.opaque(pa.string(), "kind", "vendor")),
        (pa.run_end_encoded(pa.int32(), pa.string()), pa.run_end_encoded(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_plain_types(data_type: pa.DataType, plain: pa.DataType) -> None:
    assert stored_type(data_type).equals(plain)


@pytest.mark.parametrize(
    "data_type",
    [pa.sparse_union([pa.field("a", WORD)]), pa.run_end_encoded(pa.int32(), WORD)],
    ids=["union", "run-end encoded"],
)
def test_dictionaries_that_arrow_cannot_decode_are_refused(data_type: pa.DataType) -> None:
    with pytest.raises(TypeError, match="cannot be stored; decode"):
        storage_schema(pa.schema([("a", data_type)]))


def test_values_that_do_not_occur_are_dropped_and_the_others_ordered_by_appearance() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 2], pa.int8()), ["x", "unused", "z"])
    batch = pa.record_batch({"d": column})
    (back,) = from_storage(to_storage(batch, storage_schema(batch.schema)), batch.schema)
    assert back["d"].dictionary.to_pylist() == ["z", "x"]
    assert back["d"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize("nested", [False, True])
def test_more_values_than_an_index_numbers_become_several_batches(nested: bool) -> None:
    values = [str(number) for number in range(300)]
    schema = pa.schema([("d", pa.list_(WORD) if nested else WORD)])
    stored = pa.record_batch([[[value] for value in values] if nested else values], schema=storage_schema(schema))
    batches = from_storage(stored, schema)
    assert len(batches) > 1
    assert pa.Table.from_batches(batches, schema)["d"].to_pylist() == stored["d"].to_pylist()


BASE = pa.schema([("a", pa.int64()), ("b", pa.string())])


def with_extension(name: str) -> pa.Schema:
    return pa.schema([BASE.field("a"), BASE.field("b").with_metadata({"ARROW:extension:name": name})])


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (BASE, None),
        (BASE.with_metadata({"pandas": "{}"}), None),
        (pa.schema([BASE.field("a").with_metadata({"k": "v"}), BASE.field("b")]), None),
        (pa.schema([BASE.field("b"), BASE.field("a")]), "the columns are in the order b, a, not a, b"),
        (pa.schema([BASE.field("a")]), "no column b"),
        (BASE.append(pa.field("c", pa.int8())), "a further column c"),
        (pa.schema([BASE.field("a"), ("c", pa.string())]), "no column b and a further column c"),
        (pa.schema([("a", pa.int32()), BASE.field("b")]), "column a is int32, not int64"),
        (
            pa.schema([BASE.field("a"), pa.field("b", pa.string(), nullable=False)]),
            "column b is not nullable, not null",
        ),
        (with_extension("x"), "column b has the extension type x, not none"),
    ],
)
def test_differences_are_put_in_words(other: pa.Schema, difference: str | None) -> None:
    found = describe_difference(BASE, other)
    assert found == difference if difference is None else (found or "").startswith(difference)
