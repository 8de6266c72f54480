"""Laws of the format, for any schema, layout, compression and alignment."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from crc32c import crc32c
from hypothesis import given

from spill_format import PartitionLayout, SpillFile
from spill_format.checksum import concatenate, mask, unmask
from spill_format.framing import IndexPlace, decode_place, decode_place_version, encode_place, read_seal
from spill_format.index import PartitionIndex, decode
from spill_format.layout import concatenate as concatenate_layouts
from spill_format.schemas import from_storage, plain_type
from tests.support import Anatomy, write_file

LEAVES = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20),
    pa.string_view(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.timestamp("ms"): st.integers(0, 2**40),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "b", "a longer word than a view holds"]),
    pa.dictionary(pa.int32(), pa.int64()): st.integers(0, 3),
}


class Column(NamedTuple):
    """A type, and what its values are drawn from."""

    data_type: pa.DataType
    values: st.SearchStrategy[object]


def struct_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | st.fixed_dictionaries({"x": values})


def list_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | st.lists(values, max_size=3)


def pair_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | st.lists(values, min_size=2, max_size=2)


def entries_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return list_of(st.tuples(st.integers(0, 9), values))


def nested(columns: st.SearchStrategy[Column]) -> st.SearchStrategy[Column]:
    return st.one_of(
        columns.map(lambda inner: Column(pa.list_(inner.data_type), list_of(inner.values))),
        columns.map(lambda inner: Column(pa.large_list(inner.data_type), list_of(inner.values))),
        columns.map(lambda inner: Column(pa.list_view(inner.data_type), list_of(inner.values))),
        columns.map(lambda inner: Column(pa.list_(inner.data_type, 2), pair_of(inner.values))),
        columns.map(lambda inner: Column(pa.struct([("x", inner.data_type)]), struct_of(inner.values))),
        columns.map(lambda inner: Column(pa.map_(pa.int8(), inner.data_type), entries_of(inner.values))),
    )


leaves = st.sampled_from(list(LEAVES)).map(lambda data_type: Column(data_type, st.none() | LEAVES[data_type]))
any_column = st.recursive(leaves, nested, max_leaves=3)
alignments = st.sampled_from([1 << exponent for exponent in range(3, 17)])
compressions = st.sampled_from([None, "lz4", "zstd"])


def array_of(values: list[object], data_type: pa.DataType) -> pa.Array:
    """Arrow builds no nested dictionaries from Python values: as plain ones first."""
    plain = pa.record_batch([pa.array(values, plain_type(data_type))], names=["c"])
    (batch,) = from_storage(plain, pa.schema([("c", data_type)]))
    return batch.column(0)


@st.composite
def files(draw: st.DrawFn) -> tuple[pa.Schema, list[list[pa.RecordBatch]]]:
    """A schema of up to three columns, and the batches of each of up to six partitions."""
    columns = draw(st.lists(any_column, min_size=1, max_size=3))
    schema = pa.schema([(f"c{number}", column.data_type) for number, column in enumerate(columns)])
    row_counts = draw(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=6))
    return schema, [
        [
            pa.record_batch(
                [
                    array_of(draw(st.lists(column.values, min_size=count, max_size=count)), column.data_type)
                    for column in columns
                ],
                schema=schema,
            )
            for count in counts
        ]
        for counts in row_counts
    ]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


def index_of(anatomy: Anatomy) -> PartitionIndex:
    return decode(anatomy.raw[anatomy.index : anatomy.footer])


@given(file=files(), compression=compressions, alignment=alignments)
def test_what_was_written_is_read_and_every_range_keeps_the_laws(
    directory: Path,
    file: tuple[pa.Schema, list[list[pa.RecordBatch]]],
    compression: str | None,
    alignment: int,
) -> None:
    schema, partitions = file
    path = directory / "x.arrow"
    path.unlink(missing_ok=True)
    write_file(path, dict(enumerate(partitions)), len(partitions), schema, compression, alignment)
    raw = Anatomy.of(path).raw

    with SpillFile(path) as spill:
        spill.verify()
        assert spill.schema.equals(schema)
        offsets = spill.layout.offsets.tolist()
        assert spill.layout.rows is not None
        assert spill.layout.crc32c is not None
        for partition, batches in enumerate(partitions):
            expected = pa.Table.from_batches(batches, schema).to_pylist()
            assert spill.read(partition).to_pylist() == expected
            assert spill.batches(partition).read_all().to_pylist() == expected
            assert spill.layout.rows[partition] == len(expected)

            start, end = offsets[partition : partition + 2]
            assert start % alignment == 0
            assert end % alignment == 0
            assert (start == end) == (not expected)
            assert spill.layout.crc32c[partition] == crc32c(raw[start:end])
            stream = pa.ipc.open_stream(raw[8 : offsets[0]] + raw[start:end]).read_all()
            assert stream.num_rows == len(expected)
        whole = pa.Table.from_batches([batch for batches in partitions for batch in batches], schema)
        assert spill.read(0, len(partitions)).to_pylist() == whole.to_pylist()


@given(file=files(), alignment=alignments)
def test_only_the_last_message_of_a_range_is_padded_and_each_says_its_partition(
    directory: Path, file: tuple[pa.Schema, list[list[pa.RecordBatch]]], alignment: int
) -> None:
    schema, partitions = file
    message_lengths = []
    for name, chosen in (("least", 8), ("aligned", alignment)):
        path = directory / f"{name}.arrow"
        path.unlink(missing_ok=True)
        raw = write_file(path, dict(enumerate(partitions)), len(partitions), schema, alignment=chosen).read_bytes()
        index = index_of(Anatomy.cut(raw))
        message_lengths.append(index.message_lengths)
        partition_of = np.repeat(np.arange(len(partitions)), np.diff(index.first_messages)).tolist()
        for partition, start, metadata_length, length in zip(
            partition_of, index.message_offsets[:-1], index.metadata_lengths, index.message_lengths, strict=True
        ):
            message = raw[start : start + length]
            seal = read_seal(message[:metadata_length])
            assert seal is not None
            assert seal.partition == partition
            assert seal.metadata_crc32c == crc32c(message[: metadata_length - 4])
            assert seal.body_crc32c == crc32c(message[metadata_length:])
        last_of_range = np.isin(np.arange(1, len(partition_of) + 1), index.first_messages)
        padding = message_lengths[-1] - message_lengths[0]
        assert (padding[~last_of_range] == 0).all()
        assert ((padding >= 0) & (padding < alignment)).all()


@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=6))
def test_checksums_of_concatenations_follow_from_those_of_the_parts(groups: list[list[bytes]]) -> None:
    parts = [part for group in groups for part in group]
    combined = concatenate(
        np.array([crc32c(part) for part in parts], dtype=np.uint32),
        np.array([len(part) for part in parts], dtype=np.int64),
        np.array([len(group) for group in groups], dtype=np.int64),
    )
    assert combined.tolist() == [crc32c(b"".join(group)) for group in groups]


@given(checksum=st.integers(0, 2**32 - 1))
def test_unmasking_undoes_masking(checksum: int) -> None:
    assert 0 <= mask(checksum) < 2**32
    assert unmask(mask(checksum)) == checksum


@given(st.integers(1, 9), st.lists(st.lists(st.integers(0, 2**40), min_size=9, max_size=9), min_size=1, max_size=5))
def test_concatenated_ranges_tile_the_target(partition_count: int, lengths: list[list[int]]) -> None:
    layouts = [PartitionLayout(np.cumsum([8, *source[:partition_count]], dtype=np.int64)) for source in lengths]
    offsets = concatenate_layouts(layouts, 64)
    assert offsets[0] == 64
    assert np.diff(offsets).tolist() == [sum(source[p] for source in lengths) for p in range(partition_count)]


@given(offset=st.integers(0, 2**63 - 1), length=st.integers(0, 2**63 - 1))
def test_the_note_of_a_place_has_one_width_and_is_read_back(offset: int, length: int) -> None:
    note = encode_place(1, 0, IndexPlace(offset, length))
    assert len(note) == 88
    assert decode_place(note.encode()) == (offset, length)
    assert decode_place_version(note.encode()) == (1, 0)


@given(
    lengths=st.lists(
        st.lists(st.tuples(st.integers(4, 100), st.integers(0, 2**50)), max_size=4), min_size=1, max_size=6
    ),
    template=st.binary(max_size=30),
)
def test_an_index_is_decoded_as_it_was_encoded(lengths: list[list[tuple[int, int]]], template: bytes) -> None:
    messages = [message for partition in lengths for message in partition]
    offsets = np.cumsum([64, *(8 * sum(map(sum, partition)) for partition in lengths)], dtype=np.int64)
    index = PartitionIndex(
        layout=PartitionLayout(
            offsets,
            np.array([len(partition) for partition in lengths], dtype=np.int64),
            np.arange(len(lengths), dtype=np.uint32),
        ),
        alignment=8,
        metadata_lengths=np.array([8 * metadata for metadata, _ in messages], dtype=np.int32),
        body_lengths=np.array([8 * body for _, body in messages], dtype=np.int64),
        footer_template=template,
    )
    section = index.encode()
    assert len(section) % 8 == 0
    decoded = decode(section)
    assert decoded.encode() == section
    assert decoded.footer_template == template
    assert decoded.first_messages.tolist() == np.cumsum([0, *map(len, lengths)]).tolist()
    assert decoded.layout.offsets.tolist() == offsets.tolist()
