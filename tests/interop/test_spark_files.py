"""A real Spark's shuffle files: ours reads and merges them, and Spark's own classes read what comes out, row by row."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shuffle import MergeOptions, merge
from shuffle.merging.formats import SparkFormat
from shuffle.merging.push_merge import merge_pushed
from shuffle.testing import write_output
from spill_format.range_checksums import CRC32C
from spill_format.spark.codecs import recognize_codec
from spill_format.spark.discovery import find_outputs
from spill_format.spark.outputs import encode_checksums, encode_index, read_output
from spill_format.spark.pushed import encode_meta
from tests.helpers.spark_files import ranges_of_spark
from tests.interop.spark_shuffles import JOBS, MAPS, ROWS, SESSIONS, jobs_of, shuffle_of

HERE = Path(__file__).parent
ALGORITHMS = {name: name.upper() if name.startswith("crc32") else "ADLER32" for name in SESSIONS}
MAGICS = {"lz4": "lz4-block", "zstd": "zstd", "snappy": "snappy", "lzf": "lzf", "none": "none or unknown"}

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each session a directory with its ``blockmgr-*``; and what the queries answered, ``sums.json``."""
    home = tmp_path_factory.mktemp("shuffles")
    completed = subprocess.run(
        [sys.executable, HERE / "spark_shuffles.py", home], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return home


@pytest.fixture(scope="session")
def reader(spark: Any) -> Any:
    """``SparkReader.java`` in the session's JVM; Spark's own Janino compiles it, so that no JDK is needed."""
    jvm = spark.sparkContext._jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook((HERE / "SparkReader.java").read_text())
    return compiler.getClassLoader().loadClass("SparkReader").newInstance()


@pytest.fixture
def configured(spark: Any) -> Callable[[str], Any]:
    """The SparkConf of one of ``SESSIONS``."""

    def configuration(session: str) -> Any:
        conf = spark.sparkContext._jvm.org.apache.spark.SparkConf(False)
        for key, value in SESSIONS[session].items():
            conf.set(key, value)
        return conf

    return configuration


def merged(kept: Path, session: str, job: str, target: Path, **options: Any) -> Path:
    merge([kept / session], target, MergeOptions(**options), file_format=SparkFormat(shuffle=shuffle_of(job)))
    return target


def added(sums: list[list[int]]) -> list[int]:
    """Column by column."""
    return [sum(column) for column in zip(*sums, strict=True)]


def install(reader: Any, data: Path, shuffle: int, algorithm: str) -> int:
    """Put an output where Spark's resolver looks for that of a map of a shuffle."""
    places = reader.places(shuffle, 0, algorithm)
    for suffix, place in zip((".data", ".index", f".checksum.{algorithm}"), places, strict=True):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data.with_suffix(suffix), place)
    return shuffle


@pytest.mark.parametrize("session", SESSIONS)
def test_sparks_files_are_found_and_mean_to_us_what_they_mean_to_spark(kept: Path, session: str, reader: Any) -> None:
    for job in jobs_of(session):
        partition_count = JOBS[job][0]
        outputs = find_outputs([kept / session], shuffle_of(job))
        assert len(outputs) == MAPS
        for _, paths in outputs:
            output = read_output(paths)
            assert output.checksums is not None
            assert output.checksums.algorithm.name == ALGORITHMS[session]
            assert output.layout.partition_count == partition_count
            ranges = [list(each) for each in reader.readIndex(paths.index, partition_count)]
            starts, lengths = output.layout.offsets[:-1], output.layout.lengths
            assert ranges == [list(pair) for pair in zip(starts.tolist(), lengths.tolist(), strict=True)]
            content = Path(paths.data).read_bytes()
            for (start, length), recorded in zip(ranges, output.checksums.values.tolist(), strict=True):
                algorithm = output.checksums.algorithm
                assert algorithm.update(content[start : start + length], algorithm.of_nothing) == recorded


@pytest.mark.parametrize("session", SESSIONS)
def test_what_we_write_is_byte_for_byte_what_spark_wrote(kept: Path, session: str, tmp_path: Path) -> None:
    for job in jobs_of(session):
        for name, paths in find_outputs([kept / session], shuffle_of(job)):
            output = read_output(paths)
            assert paths.checksum is not None
            assert output.checksums is not None
            assert encode_index(output.layout.offsets) == Path(paths.index).read_bytes()
            assert encode_checksums(output.checksums) == Path(paths.checksum).read_bytes()
            content, offsets = Path(paths.data).read_bytes(), output.layout.offsets.tolist()
            ranges = [content[start:end] for start, end in pairwise(offsets)]
            write_output(tmp_path / f"{name}.data", ranges, algorithm=ALGORITHMS[session])
            for file in (paths.data, paths.index, paths.checksum):
                assert (tmp_path / Path(file).name).read_bytes() == Path(file).read_bytes()


@pytest.mark.parametrize(("session", "job"), [(session, job) for session in SESSIONS for job in jobs_of(session)])
def test_spark_reads_every_row_of_our_merge(
    kept: Path, tmp_path: Path, reader: Any, configured: Callable[[str], Any], session: str, job: str
) -> None:
    target = merged(kept, session, job, tmp_path / "merged.data", verify=True)
    partition_count = JOBS[job][0]
    paths = [str(target.with_suffix(suffix)) for suffix in (f".checksum.{ALGORITHMS[session]}", ".data", ".index")]

    assert reader.checksumsAreRight(partition_count, ALGORITHMS[session], *paths)
    number = install(reader, target, 1000 + 10 * list(SESSIONS).index(session) + shuffle_of(job), ALGORITHMS[session])
    conf = configured(session)
    sums = [
        list(reader.readBlock(conf, number, 0, partition)) if content else [0, 0, 0]  # Spark never fetches empty blocks
        for partition, content in enumerate(ranges_of_spark(target))
    ]
    assert added(sums) == json.loads((kept / "sums.json").read_text())[session][job]
    rows = [row_count for *_, row_count in sums]
    assert sum(rows) == ROWS
    if job == "one partition of everything":
        assert sorted(rows) == [0, 0, 0, ROWS]
    if job == "mostly empty partitions":
        assert rows.count(0) >= partition_count - 2


def test_ranges_of_spark_are_several_streams_since_maps_spilled(kept: Path) -> None:
    for _, paths in find_outputs([kept / "zstd"], shuffle_of("one partition of everything")):
        assert Path(paths.data).read_bytes().count(b"\x28\xb5\x2f\xfd") >= ROWS // MAPS // 100


@pytest.mark.parametrize(("session", "magic"), MAGICS.items())
def test_the_codec_of_sparks_ranges_is_recognized(kept: Path, session: str, magic: str) -> None:
    for _, paths in find_outputs([kept / session], shuffle_of("usual")):
        assert recognize_codec(Path(paths.data).read_bytes()[:16]) == magic


def test_maps_are_merged_in_their_order(kept: Path, tmp_path: Path) -> None:
    target = merged(kept, "none", "usual", tmp_path / "merged.data")
    sources = []
    for _, paths in sorted(find_outputs([kept / "none"], shuffle_of("usual"))):
        content, offsets = Path(paths.data).read_bytes(), read_output(paths).layout.offsets.tolist()
        sources.append([content[start:end] for start, end in pairwise(offsets)])

    assert ranges_of_spark(target) == [b"".join(parts) for parts in zip(*sources, strict=True)]


def test_a_merge_of_spark_is_merged_already_when_it_is_started_again(kept: Path, tmp_path: Path) -> None:
    target = merged(kept, "crc32c", "usual", tmp_path / "merged.data")
    again = merge([kept / "crc32c"], target, file_format=SparkFormat(shuffle=shuffle_of("usual")))

    assert again.repeated
    assert CRC32C.name in {path.suffix[1:] for path in tmp_path.iterdir()}


def java_hash(text: str) -> int:
    """``String.hashCode``, made non-negative as Spark does."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return abs(value - (1 << 32) if value & 0x80000000 else value)


@pytest.mark.parametrize("session", ["lz4", "snappy"])
def test_spark_reads_every_row_and_every_map_of_the_push_based_layout(
    kept: Path, tmp_path: Path, reader: Any, spark: Any, configured: Callable[[str], Any], session: str
) -> None:
    application, shuffle = spark.sparkContext.applicationId, shuffle_of("usual")
    (tmp_path / "merged").mkdir()
    report = merge_pushed(
        [kept / session],
        tmp_path / "merged",
        application=application,
        spark_format=SparkFormat(shuffle=shuffle),
        chunk_bytes=1500,
    )
    for file in (tmp_path / "merged").iterdir():  # into the subdirectories where Spark looks for them
        place = tmp_path / f"{java_hash(file.name) % 64:02x}"
        place.mkdir(exist_ok=True)
        shutil.move(file, place)

    sums = []
    chunk_count = 0
    for partition in range(JOBS["usual"][0]):
        chunks = [list(maps) for maps in reader.chunkMaps(str(tmp_path), shuffle, 0, partition)]
        assert sorted(number for maps in chunks for number in maps) == [0, 1, 2]
        chunk_count += len(chunks)
        sums += [
            list(reader.readChunk(configured(session), str(tmp_path), shuffle, 0, partition, chunk))
            for chunk in range(len(chunks))
        ]
    assert added(sums) == json.loads((kept / "sums.json").read_text())[session]["usual"]
    assert chunk_count == report.chunk_count > JOBS["usual"][0]


def test_bitmaps_are_those_that_sparks_library_writes(spark: Any) -> None:
    for maps in ([0, 1, 2], list(range(100, 5000)), [7, 70_000, 2**31 - 1], list(range(0, 20_000, 7))):
        bitmap = spark.sparkContext._jvm.org.roaringbitmap.RoaringBitmap()
        for number in maps:
            bitmap.add(number)
        written = encode_meta([maps])
        buffer = spark.sparkContext._jvm.java.nio.ByteBuffer.wrap(written)
        readable = spark.sparkContext._jvm.org.roaringbitmap.RoaringBitmap()
        readable.deserialize(buffer)

        assert readable.equals(bitmap)
