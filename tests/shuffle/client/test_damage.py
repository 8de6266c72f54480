"""Whatever a network or a disk does to a stream: no wrong row arrives, and no reader takes a part for the whole."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from shuffle.client import PartitionClient, Place
from shuffle.http_options import FetchOptions
from shuffle.wire import CHECKSUM_HEADER
from spill_format import CorruptError, SpillError, SpillFile, SpillWriter
from spill_format.checksum import crc32c
from spill_format.errors import ChecksumError, TruncatedError
from spill_format.messages import END_OF_STREAM, encode_header, metadata_length_of, read_batch_size, seal_metadata
from spill_format.stream import ranges_within
from tests.helpers.proxies import scripted_server

QUICK = FetchOptions(backoff_seconds=0.001, attempts=2, timeout_seconds=5)
BATCHES = [
    pa.record_batch({"n": range(start, start + 200), "text": [str(n) for n in range(200)]}) for start in (0, 200, 400)
]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three batches, as a server sends them."""
    return stream_of(BATCHES, tmp_path_factory.mktemp("stream") / "a.arrow")


def stream_of(batches: list[pa.RecordBatch], path: Path) -> bytes:
    with SpillWriter(path, batches[0].schema, 1) as writer:
        for batch in batches:
            writer.write(0, batch)
    with SpillFile(path) as spill:
        _, end = spill.range_of(0)
    content = path.read_bytes()
    return content[8:end] + END_OF_STREAM


@contextmanager
def sent(stream: bytes, recorded_crc32c: int, byte_count: int | None = None) -> Iterator[str]:
    """A server that answers with a stream, again and again, whatever of it is asked for."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Length: {byte_count or len(stream)}\r\n"
        f"{CHECKSUM_HEADER}: {recorded_crc32c:08x}\r\nConnection: close\r\n\r\n"
    )
    with scripted_server([head.encode() + stream]) as url:
        yield f"{url}/a.arrow"


def checksum_of(stream: bytes) -> int:
    return crc32c(ranges_within(stream, ""))


def flipped(stream: bytes, bit: int) -> bytes:
    changed = bytearray(stream)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def borders_of(stream: bytes) -> list[int]:
    """Where messages end."""
    position = metadata_length_of(stream)
    borders = [position]
    while position < len(stream) - len(END_OF_STREAM):
        metadata_length = metadata_length_of(stream[position:])
        metadata = stream[position : position + metadata_length]
        position += metadata_length + read_batch_size(metadata).body_bytes
        borders.append(position)
    return borders


def test_each_bit_of_a_schema_message_counts(stream: bytes) -> None:
    for bit in range(8 * metadata_length_of(stream)):
        with pytest.raises((SpillError,)):
            ranges_within(flipped(stream, bit), "url")


def read(client: PartitionClient, url: str, _directory: Path) -> object:
    return client.read(url, 0)


def read_many(client: PartitionClient, url: str, _directory: Path) -> object:
    return next(client.read_many([Place.of(url, 0)])).table


def save(client: PartitionClient, url: str, directory: Path) -> object:
    return client.save(url, 0, None, directory / "saved")


def pipe(client: PartitionClient, url: str, _directory: Path) -> object:
    return client.pipe(url, 0, None, io.BytesIO())


@pytest.mark.parametrize("act", [read, read_many, save, pipe])
def test_a_wrong_schema_message_arrives_nowhere(stream: bytes, act: Callable[..., object], tmp_path: Path) -> None:
    name = stream.index(b"text")
    with (
        sent(flipped(stream, 8 * name), checksum_of(stream)) as url,
        PartitionClient(QUICK) as client,
        pytest.raises(ChecksumError, match="CRC-32C of the schema message"),
    ):
        act(client, url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def by_arrow(stream: bytes) -> object:
    return pa.ipc.open_stream(io.BytesIO(stream)).read_all()


def by_polars(stream: bytes) -> object:
    return pl.read_ipc_stream(io.BytesIO(stream))


def piped(stream: bytes, recorded: int, byte_count: int | None = None) -> bytes:
    """What a pipe got of a stream whose download failed."""
    got = io.BytesIO()
    with (
        sent(stream, recorded, byte_count) as url,
        PartitionClient(QUICK) as client,
        pytest.raises((SpillError, OSError)),
    ):
        client.pipe(url, 0, None, got)
    return got.getvalue()


def assert_nobody_reads(got: bytes, stream: bytes) -> None:
    assert stream.startswith(got)
    for reader in (by_arrow, by_polars):
        with pytest.raises(Exception, match=r"\w"):
            reader(got)


def test_no_reader_of_a_pipe_takes_a_cut_for_the_end(stream: bytes) -> None:
    borders = borders_of(stream)
    assert len(borders) == 4
    got = b""
    cuts = {border + by for border in borders for by in (-1, 0, 1, 8, 200)}
    for cut in sorted(cut for cut in cuts if cut < len(stream)):
        got = piped(stream[:cut], checksum_of(stream), len(stream))
        assert_nobody_reads(got, stream)
    assert len(got) > borders[2]  # though most of it was passed on as it came


@pytest.mark.parametrize(
    "last",
    [[None] * 200, [0, *[None] * 199], ["a", *[""] * 199]],
    ids=["no values", "most nulls", "a letter and padding"],
)
def test_no_reader_overlooks_a_cut_in_what_it_need_not_read(last: list[object], tmp_path: Path) -> None:
    types = [pa.int64(), pa.string() if "a" in last else pa.int8()]
    stream = stream_of(
        [pa.record_batch([pa.array(range(200), types[0]), pa.array(last, types[1])], ["n", "last"])] * 3,
        tmp_path / "a.arrow",
    )
    for cut in (*borders_of(stream)[1:3], len(stream) - len(END_OF_STREAM)):
        got = piped(stream[:cut], checksum_of(stream), len(stream))
        assert_nobody_reads(got, stream)
        with pytest.raises(Exception, match=r"\w"):
            pl.read_ipc_stream(io.BytesIO(got), columns=["n"])


def test_record_batches_without_rows_are_no_end_either(tmp_path: Path) -> None:
    stream = stream_of([BATCHES[0], BATCHES[0][:0], BATCHES[0][:0], BATCHES[1]], tmp_path / "a.arrow")
    for cut in borders_of(stream)[1:]:
        assert_nobody_reads(piped(stream[:cut], checksum_of(stream), len(stream)), stream)
    test_a_whole_stream_is_passed_on_to_its_last_byte(stream)


@pytest.mark.parametrize("part", [0.1, 0.4, 0.6, 0.999])
def test_what_is_damaged_is_not_passed_on(stream: bytes, part: float) -> None:
    place = int(len(stream) * part)
    got = piped(flipped(stream, 8 * place), checksum_of(stream))
    assert len(got) <= max([0, *(border for border in borders_of(stream) if border <= place)])
    assert_nobody_reads(got, stream)


def test_a_message_too_few_is_noticed(stream: bytes) -> None:
    borders = borders_of(stream)
    without = stream[: borders[2]] + stream[borders[3] :]
    got = io.BytesIO()
    with sent(without, checksum_of(stream)) as url, PartitionClient(QUICK) as client, pytest.raises(ChecksumError):
        client.pipe(url, 0, None, got)
    assert_nobody_reads(got.getvalue(), without)


def test_a_stream_that_was_replaced_is_not_continued_with_another(stream: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(stream)}\r\n{CHECKSUM_HEADER}: 0\r\nConnection: close\r\n"
    first, second = (f'{head}ETag: "{number}"\r\n\r\n'.encode() for number in range(2))
    got = io.BytesIO()
    with (
        scripted_server([first + stream[:5000], second + stream]) as url,
        PartitionClient(QUICK) as client,
        pytest.raises(SpillError, match="the file was replaced on the server while it was being passed on"),
    ):
        client.pipe(f"{url}/a.arrow", 0, None, got)
    assert_nobody_reads(got.getvalue(), stream)


def test_a_whole_stream_is_passed_on_to_its_last_byte(stream: bytes) -> None:
    got = io.BytesIO()
    with sent(stream, checksum_of(stream)) as url, PartitionClient(QUICK) as client:
        client.pipe(url, 0, None, got)
    assert got.getvalue() == stream


def damaged_streams(stream: bytes) -> dict[str, bytes]:
    """Streams with one defect each, named by what is said of it."""
    first, second = borders_of(stream)[:2]
    plain = BATCHES[0].serialize().to_pybytes()
    overlong = stream[: first + 4] + b"\0\0\0\x7f"
    undecodable = encode_header(b"\xff\xff\xff\xff\x08\0\0\0" + bytes(8), 64, 1)[8:]
    return {
        "not an Arrow stream|not a message": bytes(len(stream)),
        "the schema message has no seal": BATCHES[0].schema.serialize().to_pybytes() + stream[first:],
        "the schema message cannot be decoded": undecodable + stream[first:],
        "the record batch has no seal|CRC-32C": stream[:first] + plain + stream[second:],
        "a length of .* bytes, which overruns the stream|CRC-32C": overlong + stream[first + 8 :],
        "CRC-32C of (a record batch's body|the .* bytes)": flipped(stream, 8 * (second - 50)),
        "end-of-stream marker": stream[:-1] + b"\1",
    }


@pytest.mark.parametrize("act", [read, save, pipe])
def test_each_defect_is_said(stream: bytes, act: Callable[..., object], tmp_path: Path) -> None:
    for said, damaged in damaged_streams(stream).items():
        is_first_sound = "cannot" in said
        recorded = crc32c(damaged[metadata_length_of(damaged) : -8]) if is_first_sound else checksum_of(stream)
        with (
            sent(damaged, recorded) as url,
            PartitionClient(QUICK) as client,
            pytest.raises((CorruptError, TruncatedError, ChecksumError), match=said),
        ):
            act(client, url, tmp_path)


@pytest.fixture(scope="module")
def forged(stream: bytes) -> bytes:
    """A stream whose text offsets lead out of its values, with every checksum right."""
    start, end = borders_of(stream)[:2]
    metadata_length = metadata_length_of(stream[start:])
    metadata, body = stream[start : start + metadata_length], bytearray(stream[start + metadata_length : end])
    offsets = body.index(struct.pack("<3i", 0, 1, 2))
    struct.pack_into("<i", body, offsets + 4 * 100, 1 << 30)
    sealed = seal_metadata(metadata[:-16], 0, crc32c(bytes(body)), 0)
    return stream[:start] + sealed + bytes(body) + stream[end:]


@pytest.mark.parametrize("act", [read, read_many, save, pipe])
def test_values_that_would_crash_a_reader_are_refused(
    forged: bytes, act: Callable[..., object], tmp_path: Path
) -> None:
    with sent(forged, checksum_of(forged)) as url:
        with PartitionClient(QUICK) as client, pytest.raises(CorruptError, match="a record batch cannot be decoded"):
            act(client, url, tmp_path)
        with PartitionClient(QUICK, validate=False) as trusting:
            act(trusting, url, tmp_path)  # and nothing looks at the values
