"""Laws of the format, for any schema, layout, compression and alignment."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from crc32c import crc32c
from hypothesis import given

from shuffle.testing import write_spill
from shuffle.testing.strategies import alignments, compressions, partitions
from spill_format import PartitionLayout, SpillFile
from spill_format.checksum import concatenate, mask, unmask
from spill_format.footer import IndexPlace, decode_place, decode_place_version, encode_place
from spill_format.index import PartitionIndex
from spill_format.index_reader import IndexReader
from spill_format.layout import concatenate as concatenate_layouts
from spill_format.messages import read_seal
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import index_of


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


@given(partitions=partitions(allow_nan=False), compression=compressions, alignment=alignments)
def test_what_was_written_is_read_and_every_range_keeps_the_laws(
    directory: Path, partitions: dict[int, pa.Table], compression: str | None, alignment: int
) -> None:
    path = directory / "x.arrow"
    path.unlink(missing_ok=True)
    write_spill(partitions, path, compression=compression, alignment=alignment)
    schema = partitions[0].schema
    raw = Anatomy.of(path).raw

    with SpillFile(path) as spill:
        spill.verify()
        assert spill.schema.equals(schema)
        offsets = spill.layout.offsets.tolist()
        assert spill.layout.rows is not None
        assert spill.layout.crc32c is not None
        for partition, table in partitions.items():
            expected = table.to_pylist()
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
        whole = [row for table in partitions.values() for row in table.to_pylist()]
        assert spill.read(0, len(partitions)).to_pylist() == whole


@given(partitions=partitions(), alignment=alignments)
def test_only_the_last_message_of_a_range_is_padded_and_each_says_its_partition(
    directory: Path, partitions: dict[int, pa.Table], alignment: int
) -> None:
    message_lengths = []
    for name, chosen in (("least", 8), ("aligned", alignment)):
        path = directory / f"{name}.arrow"
        path.unlink(missing_ok=True)
        raw = write_spill(partitions, path, alignment=chosen).read_bytes()
        index = index_of(raw)
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


@given(offset=st.integers(0, 2**63 - 1), length=st.integers(0, 2**63 - 1), count=st.integers(1, 2**31 - 1))
def test_the_note_of_a_place_has_one_width_and_is_read_back(offset: int, length: int, count: int) -> None:
    place = IndexPlace(offset, length, count)
    note = encode_place(1, 0, place)
    assert len(note) == 112
    assert decode_place(note.encode()) == place
    assert decode_place_version(note.encode()) == (1, 0)


@given(
    lengths=st.lists(
        st.lists(st.tuples(st.integers(4, 100), st.integers(0, 2**50)), max_size=4), min_size=1, max_size=6
    ),
    template=st.binary(max_size=30),
    partitioner=st.binary(max_size=30),
    data=st.data(),
)
def test_any_part_of_an_index_is_decoded_as_it_was_encoded(
    lengths: list[list[tuple[int, int]]], template: bytes, partitioner: bytes, data: st.DataObject
) -> None:
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
        partitioner=partitioner,
    )
    section, start = index.encode(), int(offsets[-1]) + 8
    assert len(section) % 8 == 0
    assert len(section) == index.encoded_length

    def read(offset: int, byte_count: int) -> bytes:
        return section[offset - start : offset - start + byte_count]

    reader = IndexReader.open(read, "x", start + len(section))
    assert reader.whole(read).encode() == section
    first = data.draw(st.integers(0, len(lengths) - 1))
    last = data.draw(st.integers(first + 1, len(lengths)))
    part = reader.part(read, first, last)
    assert part.layout.offsets.tolist() == offsets[first : last + 1].tolist()
    assert part.message_lengths.tolist() == [8 * sum(each) for partition in lengths[first:last] for each in partition]
    assert reader.bounds(read, first, last) == (offsets[first], offsets[last])
