"""The push-based layout and Spark's own ``RemoteBlockPushResolver``: it serves what we merged; what it merges of blocks
that are pushed to it is what we make of them, byte for byte, and is repaired where it died."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from shuffle.inspecting.repair import repair
from shuffle.merging.push_merge import merge_pushed
from spill_format.spark.discovery import find_pushed
from spill_format.spark.pushed import read_pushed
from spill_format.spark.pushed_scan import PushedPaths
from tests.helpers.spark_files import write_spark
from tests.interop.test_spark_files import java_hash

HERE = Path(__file__).parent
APPLICATION = "application_1700000000000_0042"
SHUFFLE, CHUNK_BYTES, SUBDIRECTORIES = 7, 1500, 64
MAPS, PARTITIONS = 12, 6
EMPTY_PARTITION = 3

pytestmark = pytest.mark.java


@pytest.fixture(scope="session")
def service_class(spark: Any) -> Any:
    """``PushService.java``, compiled by Spark's own Janino."""
    compiler = spark.sparkContext._jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook((HERE / "PushService.java").read_text())
    return compiler.getClassLoader().loadClass("PushService")


@pytest.fixture
def start_service(service_class: Any) -> Iterator[Callable[[Path], Any]]:
    """Starts a service on a directory, in which it has ``merge_manager`` with its subdirectories."""
    started = []

    def start(home: Path) -> Any:
        for number in range(SUBDIRECTORIES):
            (home / "merge_manager" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        service = service_class.newInstance()
        service.start(APPLICATION, str(home / "blockmgr-1"), SUBDIRECTORIES, CHUNK_BYTES)
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def blocks() -> list[list[bytes]]:
    """For each map the bytes of each partition, some of none, and of all where everything is empty."""
    generator = random.Random(7)
    return [
        [
            b""
            if partition == EMPTY_PARTITION or generator.random() < 0.2
            else generator.randbytes(generator.randint(1, 900))
            for partition in range(PARTITIONS)
        ]
        for _ in range(MAPS)
    ]


def merge_ours(blocks: list[list[bytes]], home: Path, late: list[list[bytes]] | None = None) -> Path:
    """Merged partitions, side by side, of map outputs that hold the blocks, and of others of the same maps."""
    for root, outputs in (("outputs", blocks), ("late", late or [])):
        (home / root).mkdir()
        for number, ranges in enumerate(outputs):
            write_spark(home / root / f"shuffle_{SHUFFLE}_{number}_0.data", ranges)
    (home / "merged").mkdir()
    roots = [home / "outputs", *([home / "late"] if late else [])]
    merge_pushed(roots, home / "merged", application=APPLICATION, chunk_bytes=CHUNK_BYTES)
    return home / "merged"


def push_all(service: Any, blocks: list[list[bytes]]) -> None:
    """In the order of maps; as Spark does, only blocks that have bytes."""
    for number, ranges in enumerate(blocks):
        for partition, content in enumerate(ranges):
            if content:
                service.push(SHUFFLE, 0, number, partition, content, True)


def contents_of(paths: PushedPaths) -> list[bytes]:
    return [Path(path).read_bytes() for path in (paths.data, paths.index, paths.meta)]


def test_sparks_service_serves_every_chunk_that_we_merged(
    start_service: Callable[[Path], Any], blocks: list[list[bytes]], tmp_path: Path
) -> None:
    service = start_service(tmp_path)
    for file in merge_ours(blocks, tmp_path).iterdir():
        place = f"{java_hash(file.name) % SUBDIRECTORIES:02x}"
        shutil.move(file, tmp_path / "merge_manager" / place / file.name)

    found = find_pushed([tmp_path])
    assert [name.reduce for name, _ in found] == [number for number in range(PARTITIONS) if number != EMPTY_PARTITION]
    for name, _ in found:
        chunks = [list(maps) for maps in service.chunkMaps(SHUFFLE, 0, name.reduce)]
        assert sorted(chain.from_iterable(chunks)) == [
            number for number, ranges in enumerate(blocks) if ranges[name.reduce]
        ]
        assert len(chunks) > 1
        for number, maps in enumerate(chunks):
            content = b"".join(blocks[each][name.reduce] for each in maps)
            assert bytes(service.chunk(SHUFFLE, 0, name.reduce, number)) == content


def test_what_sparks_service_merges_is_byte_for_byte_what_we_merge(
    start_service: Callable[[Path], Any], blocks: list[list[bytes]], tmp_path: Path
) -> None:
    service = start_service(tmp_path / "spark")
    push_all(service, blocks)
    finished = sorted(service.finish(SHUFFLE, 0))
    ours = merge_ours(blocks, tmp_path)

    theirs = find_pushed([tmp_path / "spark"])
    assert [name.reduce for name, _ in theirs] == finished
    assert [name for name, _ in find_pushed([ours])] == [name for name, _ in theirs]
    for (_, mine), (_, other) in zip(find_pushed([ours]), theirs, strict=True):
        assert read_pushed(other).chunk_count > 1
        assert contents_of(mine) == contents_of(other)


def test_what_a_service_that_died_leaves_is_repaired_to_what_it_had_merged(
    start_service: Callable[[Path], Any], blocks: list[list[bytes]], tmp_path: Path
) -> None:
    service = start_service(tmp_path / "spark")
    push_all(service, blocks)
    service.push(SHUFFLE, 0, MAPS, 0, b"half a block", False)  # and no more; it is never finished
    served = {}
    for partition in range(PARTITIONS):
        if partition != EMPTY_PARTITION:
            maps = [tuple(each) for each in service.chunkMaps(SHUFFLE, 0, partition)]
            served[partition] = [
                (each, bytes(service.chunk(SHUFFLE, 0, partition, number))) for number, each in enumerate(maps)
            ]

    for name, paths in find_pushed([tmp_path / "spark"]):
        target = tmp_path / f"repaired-{name.reduce}.data"
        assert repair(paths.data, target).is_complete
        repaired = read_pushed(target)
        assert [(maps, repaired.read(number)) for number, maps in enumerate(repaired.maps)] == served[name.reduce]
    (of_half_a_block,) = [paths for name, paths in find_pushed([tmp_path / "spark"]) if name.reduce == 0]
    assert Path(of_half_a_block.data).read_bytes().endswith(b"half a block")


def test_of_a_map_that_is_pushed_twice_sparks_service_and_we_keep_the_first_block(
    start_service: Callable[[Path], Any], blocks: list[list[bytes]], tmp_path: Path
) -> None:
    late = [[content[::-1] for content in ranges] for ranges in blocks]
    service = start_service(tmp_path / "spark")
    push_all(service, blocks)
    push_all(service, late)
    service.finish(SHUFFLE, 0)
    ours = merge_ours(blocks, tmp_path, late)

    for (_, mine), (_, other) in zip(find_pushed([ours]), find_pushed([tmp_path / "spark"]), strict=True):
        assert contents_of(mine) == contents_of(other)
