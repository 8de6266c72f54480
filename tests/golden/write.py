"""Writes the golden files anew, and the hex listing of FORMAT.md: ``python -m tests.golden.write``.

Only for a change of the format before its first release: from then on, files that were once written must stay readable.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

import spill_format
from shuffle import merge
from spill_format import PartitionerDescription, SpillWriter
from spill_format.partitioner import PartitionerColumn
from tests.helpers.anatomy import SUMMARY_LENGTH, Anatomy

HERE = Path(__file__).parent
FORMAT = Path(spill_format.__file__).parent / "FORMAT.md"
EXAMPLE = HERE / "example.spill.arrow"

SCHEMA = pa.schema([("n", pa.int32())])
PARTITIONS: dict[int, list[list[int | None]]] = {0: [[1, 2], [3]], 2: [[4, None]]}
PARTITIONER = PartitionerDescription("hash", (PartitionerColumn("n", "int"),), 3)

WIDE_SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("text", pa.string()),
        ("word", pa.dictionary(pa.int8(), pa.string())),
        ("list", pa.list_(pa.float64())),
    ],
    metadata={"of": "the golden files"},
)
FILES: dict[str, tuple[str | None, int, dict[int, list[int]]]] = {
    "plain": (None, 64, {0: [3, 2], 2: [1]}),
    "lz4": ("lz4", 64, {0: [40], 1: [7, 9]}),
    "zstd": ("zstd", 64, {0: [40], 1: [7, 9]}),
    "aligned": (None, 4096, {1: [5], 2: [6]}),
    "empty": (None, 64, {}),
}
"""By name: compression, alignment, and the numbers of rows of each partition's record batches; three partitions."""
MERGED = ("plain", "aligned", "empty", "lz4")


def rows(row_count: int, partition: int) -> pa.RecordBatch:
    """The rows of a batch: they say their partition."""
    numbers = range(row_count)
    columns = [
        pa.array([100 * partition + number for number in numbers]),
        pa.array([None if number % 3 == 2 else f"row {number}" for number in numbers]),
        pa.array([("even", "odd")[number % 2] for number in numbers]).dictionary_encode().cast(WIDE_SCHEMA[2].type),
        pa.array([[0.5] * (number % 4) for number in numbers], pa.list_(pa.float64())),
    ]
    return pa.record_batch(columns, schema=WIDE_SCHEMA)


def write_example(path: Path) -> None:
    """The example of FORMAT.md section 12."""
    with SpillWriter(path, SCHEMA, 3, alignment=32, partitioner=PARTITIONER, overwrite=True) as writer:
        for partition, batches in PARTITIONS.items():
            for values in batches:
                writer.write(partition, pa.record_batch([pa.array(values, pa.int32())], schema=SCHEMA))


def write_all(directory: Path) -> None:
    """All golden files."""
    write_example(directory / EXAMPLE.name)
    for name, (compression, alignment, partitions) in FILES.items():
        path = directory / f"{name}.spill.arrow"
        with SpillWriter(path, WIDE_SCHEMA, 3, compression, alignment, overwrite=True) as writer:
            for partition, counts in partitions.items():
                for count in counts:
                    writer.write(partition, rows(count, partition))
    merge([directory / f"{name}.spill.arrow" for name in MERGED], directory / "merged.arrow", overwrite=True)


def listing(raw: bytes) -> str:
    """The bytes of the example, line by line, with what they are."""
    lines: list[str] = []
    position = 0
    for item in _parts(Anatomy.cut(raw)):
        if isinstance(item, str):
            lines += ([""] if lines else []) + [item]
            continue
        length, words = item
        for start in range(position, position + length, 16):
            content = raw[start : min(start + 16, position + length)].hex(" ")
            lines.append(
                f"{start:04x}  {content:<47}  {words}".rstrip() if start == position else f"{start:04x}  {content}"
            )
        position += length
    assert position == len(raw)
    return "\n".join(lines) + "\n"


def _parts(file: Anatomy) -> Iterator[str | tuple[int, str]]:
    """Headlines, and lengths with what so many bytes are."""
    yield "header (3)"
    yield from ((8, 'magic "ARROW1", 2 zero bytes'), (4, "continuation marker"))
    header = file.offsets[0]
    yield 4, f"metadata length: {header - 16}"
    flatbuffer = len(pa.schema(SCHEMA).serialize()) - 8
    yield flatbuffer, 'schema: Arrow\'s flatbuffer, one nullable int32 column "n"'
    if padding := header - 32 - flatbuffer:
        yield padding, "padding"
    yield from (
        (4, 'header seal: magic "HEAD"'),
        (4, f"partition_count: {file.partition_count}"),
        (4, "alignment: 32"),
        (4, "masked CRC-32C of the message up to here"),
    )
    yield from _ranges(file)
    yield "end-of-stream marker (5)"
    yield 8, ""
    yield from _index(file)
    yield "footer (7)"
    template = _summary(file)[10]
    footer_length = len(file.raw) - 10 - file.footer
    yield template, "the template: its note filled in, its blocks pointed to the end"
    if padding := footer_length - template - 4 - 24 * file.batch_count:
        yield padding, "padding"
    yield 4, f"record batch blocks: {file.batch_count}"
    for number in range(file.batch_count):
        start = len(file.raw) - 10 - 24 * (file.batch_count - number)
        offset, metadata, body = struct.unpack_from("<qi4xq", file.raw, start)
        yield 24, f"block: offset {offset}, metadata {metadata}, body {body}"
    yield from ((4, "length of the footer"), (6, 'magic "ARROW1"'))


def _ranges(file: Anatomy) -> Iterator[str | tuple[int, str]]:
    number = 0
    for partition in range(file.partition_count):
        start, end = file.offsets[partition : partition + 2]
        if start == end:
            yield f"range of partition {partition} (4): empty, at {start:04x}"
            continue
        yield f"range of partition {partition} (4): {end - start} bytes"
        for values in PARTITIONS[partition]:
            body, metadata = struct.unpack_from("<qi", file.raw, file.of_message(number, "body_length"))
            batch = pa.record_batch([pa.array(values, pa.int32())], schema=SCHEMA)
            flatbuffer = len(batch.serialize()) - body - 8
            yield 4, f"message {number}: continuation marker"
            yield 4, f"metadata length: {metadata - 8}"
            yield flatbuffer, f"record batch: Arrow's flatbuffer, {len(values)} row{'s' * (len(values) > 1)}"
            if padding := metadata - 24 - flatbuffer:
                yield padding, "padding, so that the range's length is a multiple of 32"
            yield from (
                (4, 'seal: magic "SEAL"'),
                (4, f"partition: {partition}"),
                (4, "CRC-32C of the body"),
                (4, "masked CRC-32C of the metadata up to here"),
            )
            yield body, f"body: {values}".replace("None", "null")
            number += 1


def _summary(file: Anatomy) -> tuple[int, ...]:
    return struct.unpack_from("<8sHHIQQQQQIIII4xI", file.raw, file.summary)


def _index(file: Anatomy) -> Iterator[str | tuple[int, str]]:
    yield "index section (6)"
    yield 8, "magic"
    for partition in range(file.partition_count + 1):
        offset, row_count, message, checksum = struct.unpack_from(
            "<qqII", file.raw, file.of_partition(partition, "offset")
        )
        fields = f"offset {offset}, rows {row_count}, first_message {message}, crc32c {checksum:08x}"
        yield 24, f"{'end' if partition == file.partition_count else f'partition {partition}'}: {fields}"
    for number in range(file.batch_count):
        body, metadata = struct.unpack_from("<qi", file.raw, file.of_message(number, "body_length"))
        yield 12, f"message {number}: body_length {body}, metadata_length {metadata}"
    names = (
        ("magic", 8),
        ("major", 2),
        ("minor", 2),
        ("alignment", 4),
        ("section_length", 8),
        ("partition_count", 8),
        ("batch_count", 8),
        ("first_offset", 8),
        ("ranges_end", 8),
        ("details_length", 4),
        ("footer_template_length", 4),
        ("partitioner_length", 4),
    )
    summary = _summary(file)
    yield from ((4, "details: CRC-32C of the block of partitions"), (4, "CRC-32C of the block of messages"))
    yield summary[10], "footer_template: Arrow's flatbuffer, its note of the index blank"
    yield summary[11], "partitioner: JSON"
    if padding := file.membership - file.template - summary[10] - summary[11]:
        yield padding, "padding"
    yield 32, "set membership: none"
    for (name, length), value in zip(names, summary, strict=False):
        yield length, f"summary: {name}" if name == "magic" else f"{name}: {value}"
    yield from ((4, "CRC-32C of the details"), (4, "reserved"), (4, "CRC-32C of the summary up to here"))


def main() -> None:
    """Write the files here, and the listing in FORMAT.md."""
    write_all(HERE)
    raw = EXAMPLE.read_bytes()
    text = FORMAT.read_text()
    before, _, after = re.split(r"(?<=```hexdump\n)(.*?)(?=```)", text, maxsplit=1, flags=re.DOTALL)
    file = Anatomy.cut(raw)
    note = f'{{"version":"1.0","offset":{file.index},"length":{file.footer - file.index},"partitions":3}}'
    before = re.sub(r'^    \{"version":"1\.0".*$', f"    {note}", before, flags=re.MULTILINE)
    FORMAT.write_text(before + listing(raw) + after)


if __name__ == "__main__":
    assert struct.calcsize("<8sHHIQQQQQIIII4xI") == SUMMARY_LENGTH
    main()
