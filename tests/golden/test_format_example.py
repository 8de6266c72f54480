"""FORMAT.md's worked example is a real file, and the code makes its bytes.

What Arrow's flatbuffers in it look like is pyarrow's business and may change; what surrounds them is ours and may not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

import spill_format
from shuffle.testing import write_spill
from spill_format import SpillFile
from spill_format.framing import (
    BLOCK_DTYPE,
    END_OF_STREAM,
    IndexPlace,
    encode_footer,
    encode_header,
    encode_place,
    read_seal,
    seal_metadata,
)
from spill_format.index import decode
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import read_everything

EXAMPLE = Path(__file__).parent / "example.spill.arrow"
FORMAT = Path(spill_format.__file__).parent / "FORMAT.md"
SCHEMA = pa.schema([("n", pa.int32())])
PARTITIONS: dict[int, list[list[int | None]]] = {0: [[1, 2], [3]], 2: [[4, None]]}


@pytest.fixture
def anatomy() -> Anatomy:
    return Anatomy.of(EXAMPLE)


def listing() -> list[tuple[int, bytes]]:
    """Offset and bytes of each line of FORMAT.md's hex listing."""
    text = FORMAT.read_text().split("```hexdump\n")[1].split("```")[0]
    lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", text, flags=re.MULTILINE)
    return [(int(offset, 16), bytes.fromhex(hexadecimal)) for offset, hexadecimal in lines]


def test_the_listing_is_the_file() -> None:
    lines = listing()
    assert b"".join(content for _, content in lines) == EXAMPLE.read_bytes()
    position = 0
    for offset, content in lines:
        assert offset == position
        position += len(content)


def test_the_file_has_the_rows_that_the_text_says() -> None:
    with SpillFile(EXAMPLE) as spill:
        spill.verify()
        assert (spill.partition_count, spill.alignment, spill.schema) == (3, 32, SCHEMA)
        assert [spill.read(partition)["n"].to_pylist() for partition in range(3)] == [[1, 2, 3], [], [4, None]]
        assert spill.batch_counts.tolist() == [2, 0, 1]


def test_the_numbers_in_the_text_are_those_of_the_file(anatomy: Anatomy) -> None:
    note = f'{{"version":"1.0","offset":{anatomy.index},"length":{anatomy.footer - anatomy.index}}}'
    assert note.encode() in anatomy.raw
    assert f"    {note}\n" in FORMAT.read_text()


def test_header_seals_index_and_footer_are_made_as_they_are(anatomy: Anatomy) -> None:
    raw, first = anatomy.raw, anatomy.offsets[0]
    index = decode(raw[anatomy.index : anatomy.footer])

    assert encode_header(raw[8 : first - 16], 32, 3) == raw[:first]
    assert encode_header(raw[8:first], 32) == raw[:first]

    starts = index.message_offsets[:-1].tolist()
    for start, length in zip(starts, index.metadata_lengths.tolist(), strict=True):
        metadata = raw[start : start + length]
        seal = read_seal(metadata)
        assert seal is not None
        assert seal_metadata(metadata[:-16], seal.partition, seal.body_crc32c, 0) == metadata

    assert raw[anatomy.marker : anatomy.index] == END_OF_STREAM
    assert index.encode() == raw[anatomy.index : anatomy.footer]
    place = IndexPlace(anatomy.index, anatomy.footer - anatomy.index)
    assert index.blocks().dtype == BLOCK_DTYPE
    assert encode_footer(index.footer_template, encode_place(1, 0, place), index.blocks()) == raw[anatomy.footer :]


def test_the_writer_makes_the_file(tmp_path: Path) -> None:
    partitions = {
        partition: [pa.record_batch([pa.array(values, pa.int32())], schema=SCHEMA) for values in batches]
        for partition, batches in PARTITIONS.items()
    }
    path = write_spill(partitions, tmp_path / "example.spill.arrow", schema=SCHEMA, partition_count=3, alignment=32)
    assert read_everything(path).equals(read_everything(EXAMPLE))
    if (
        pa.schema(SCHEMA).serialize().to_pybytes()[8:] in EXAMPLE.read_bytes()
    ):  # else Arrow writes flatbuffers otherwise
        assert path.read_bytes() == EXAMPLE.read_bytes()
