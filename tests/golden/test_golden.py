"""Files that were once written stay readable, and FORMAT.md's worked example is one of them.

What Arrow's flatbuffers in them look like is pyarrow's business and may change; what surrounds them may not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from spill_format import SpillFile
from spill_format.messages import encode_header, read_seal, seal_metadata
from spill_format.trailer import TrailerContent
from tests.golden.write import (
    EXAMPLE,
    FILES,
    FORMAT,
    HERE,
    MERGED,
    PARTITIONER,
    PARTITIONS,
    SCHEMA,
    WIDE_SCHEMA,
    listing,
    rows,
    write_all,
)
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import index_of, read_everything


def test_the_listing_is_the_file() -> None:
    text = FORMAT.read_text().split("```hexdump\n")[1].split("```")[0]
    lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", text, flags=re.MULTILINE)
    assert bytes.fromhex("".join(lines)) == EXAMPLE.read_bytes()
    assert text == listing(EXAMPLE.read_bytes())


def test_the_example_has_the_rows_that_the_text_says() -> None:
    with SpillFile(EXAMPLE) as spill:
        spill.verify()
        assert (spill.partition_count, spill.alignment, spill.schema) == (3, 32, SCHEMA)
        assert spill.partitioner == PARTITIONER
        assert spill.spill_set is None
        for partition in range(3):
            values = [value for batch in PARTITIONS.get(partition, []) for value in batch]
            assert spill.read(partition)["n"].to_pylist() == values
        assert spill.batch_counts.tolist() == [2, 0, 1]


def test_header_seals_index_and_footer_are_made_as_they_are() -> None:
    anatomy = Anatomy.of(EXAMPLE)
    raw, first = anatomy.raw, anatomy.offsets[0]
    note = f'{{"version":"1.0","offset":{anatomy.index},"length":{anatomy.footer - anatomy.index},"partitions":3}}'
    assert note.encode() in raw
    assert f"    {note}\n" in FORMAT.read_text()
    assert encode_header(raw[8 : first - 16], 32, 3) == raw[:first]
    assert encode_header(raw[8:first], 32) == raw[:first]
    index = index_of(raw)
    for start, length in zip(index.message_offsets[:-1].tolist(), index.metadata_lengths.tolist(), strict=True):
        metadata = raw[start : start + length]
        seal = read_seal(metadata)
        assert seal is not None
        assert seal_metadata(metadata[:-16], seal.partition, seal.body_crc32c, 0) == metadata
    assert b"".join(TrailerContent(index)) == raw[anatomy.marker :]


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_stays_readable(name: str) -> None:
    path = HERE / f"{name}.spill.arrow"
    _, alignment, partitions = FILES[name]
    with SpillFile(path) as spill:
        assert (spill.schema, spill.schema.metadata) == (WIDE_SCHEMA, WIDE_SCHEMA.metadata)
        assert spill.alignment == alignment
        assert not (spill.layout.offsets % alignment).any()
        for partition in range(3):
            expected = [rows(count, partition) for count in partitions.get(partition, [])]
            assert spill.read(partition).to_pydict() == pa.Table.from_batches(expected, WIDE_SCHEMA).to_pydict()
    assert read_everything(path).num_rows == pa.ipc.open_file(path.read_bytes()).read_all().num_rows


def test_a_merged_golden_file_has_the_rows_of_its_sources() -> None:
    with SpillFile(HERE / "merged.arrow") as merged:
        merged.verify()
        for partition in range(3):
            expected = [rows(count, partition) for name in MERGED for count in FILES[name][2].get(partition, [])]
            assert merged.read(partition).to_pydict() == pa.Table.from_batches(expected, WIDE_SCHEMA).to_pydict()


def test_the_golden_files_are_what_is_written_today(tmp_path: Path) -> None:
    write_all(tmp_path)
    if pa.schema(SCHEMA).serialize().to_pybytes()[8:] not in EXAMPLE.read_bytes():
        return  # Arrow writes flatbuffers otherwise than the release that the files were written with
    for path in HERE.glob("*.arrow"):
        if "lz4" not in path.name and "zstd" not in path.name and path.name != "merged.arrow":
            assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
