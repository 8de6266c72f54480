"""What goes wrong on a pool of processes of one host: the result is that of a job in which nothing does."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from shuffle import Exchange, HashPartitioner, run
from shuffle.jobs.descriptor import Output
from shuffle.jobs.digest import DigestingPartitioner
from shuffle.jobs.events import ChangedRowsError, DiskFullError
from shuffle.jobs.manifest import Manifest, ManifestError
from shuffle.jobs.reduce_units import Unit
from shuffle.jobs.report import StageName
from shuffle.testing import tmpfs_mounted
from spill_format import SpillFile
from tests.shuffle.jobs import workloads
from tests.shuffle.jobs.drivers import driver, is_running
from tests.shuffle.jobs.workloads import MAP_COUNT, PARTITION_COUNT, READ, REDUCE, Once

pytestmark = pytest.mark.process

PARTITIONER = HashPartitioner("key", PARTITION_COUNT)
EXPECTED = run(range(MAP_COUNT), READ, PARTITIONER, REDUCE)


# Workers start in milliseconds: what they import was imported once.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["shuffle.jobs.tasks", "tests.shuffle.jobs.workloads"])


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        yield pool


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Where the job's files are; nothing is left of them."""
    home = tmp_path / "home"
    home.mkdir()
    yield home
    assert not list(home.iterdir())


def job(home: Path, executor: Any, **changes: Any) -> Any:
    arguments = {"read": READ, "reduce": REDUCE, "exchange": Exchange.directory(home), **changes}
    return run(range(MAP_COUNT), partitioner=PARTITIONER, executor=executor, **arguments)


@pytest.mark.parametrize("stage", ["map", "reduce"])
def test_a_worker_that_is_killed_costs_its_unfinished_tasks(
    stage: str, pool: ProcessPoolExecutor, home: Path, tmp_path: Path
) -> None:
    once = Once(tmp_path / "once", workloads.kill_this_process, after=3)
    results = job(
        home, pool, **{stage.replace("map", "read"): partial(getattr(workloads, stage.replace("map", "read")), once)}
    )
    assert results == EXPECTED
    assert results.report.maps_lost == 0, "finished outputs live on"
    assert any("BrokenProcessPool" in retry.reason for retry in results.report.retries)


def test_a_task_that_raises_once_is_run_again(pool: ProcessPoolExecutor, home: Path, tmp_path: Path) -> None:
    once = Once(tmp_path / "once", workloads.raise_an_error)
    results = job(home, pool, read=partial(workloads.read, once))
    assert results == EXPECTED
    assert results.report.stages["map"].attempts == MAP_COUNT + 1


def test_a_task_that_always_raises_ends_the_job_with_its_first_error(pool: ProcessPoolExecutor, home: Path) -> None:
    with pytest.raises(LookupError, match="once") as caught:
        job(home, pool, reduce=partial(workloads.reduce, workloads.raise_an_error), attempts=2)
    assert any("raise_an_error" in note for note in caught.value.__notes__), "the worker's traceback is told"


@pytest.mark.parametrize(("stage", "least_maps", "after"), [("map", 1, 4), ("merge", 2, 1)])
def test_a_worker_killed_between_publishing_and_answering_does_no_harm(
    stage: StageName, least_maps: int, after: int, home: Path, tmp_path: Path
) -> None:
    """The next attempt has another name; the file that nobody told of goes with the job."""
    once = Once(tmp_path / "once", workloads.kill_this_process, after)

    class DyingPool(ProcessPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(workloads.die_before_answering, once, least_maps, fn, *args, **kwargs)

    with DyingPool(2, mp_context=CONTEXT) as pool:
        results = job(home, pool, merge_from=2)
    assert results == EXPECTED
    assert results.report.retries[0].stage == stage


def test_a_worker_that_hangs_is_overtaken(pool: ProcessPoolExecutor, home: Path, tmp_path: Path) -> None:
    once = Once(tmp_path / "once", partial(stop_and_tell, tmp_path / "pid"))
    try:
        results = job(home, pool, read=partial(workloads.read, once), stall_seconds=0.5)
        assert results == EXPECTED
        assert any("no answer" in retry.reason for retry in results.report.retries)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)


def stop_and_tell(path: Path) -> None:
    path.write_text(str(os.getpid()))
    workloads.stop_this_process()


class Damage:
    """Flips bits of one file, once: near the end of the rows of the first partition, or of the last one."""

    def __init__(self, home: Path, when: tuple[str, int], file: str, partition: int = 0) -> None:
        self.home, self.when, self.file, self.partition = home, when, file, partition
        self.is_done = False

    def __call__(self, stage: str, done: int, _total: int) -> None:
        if (stage, done) == self.when and not self.is_done:
            self.is_done = True
            (path,) = self.home.glob(f"*/{self.file}")
            with SpillFile(path) as spill, open(path, "r+b") as file:
                file.seek(int(spill.layout.offsets[self.partition + 1]) - 100)
                file.write(bytes([255]) * 8)


@pytest.mark.parametrize(
    ("when", "file", "merge_from", "maps_lost"),
    [
        (("merge", 1), "merge-*", 2, 0),
        (("map", MAP_COUNT), "map-000003-*", 100, 1),
        (("map", MAP_COUNT), "map-000003-*", 2, 1),
    ],
)
def test_damage_is_found_and_only_its_map_computed_again(
    when: tuple[str, int], file: str, merge_from: int, maps_lost: int, home: Path
) -> None:
    """Of a damaged merge, the originals are read; a damaged original is found merged, too."""
    results = job(home, None, progress=Damage(home, when, file), merge_from=merge_from)
    assert results == EXPECTED
    assert results.report.maps_lost == maps_lost


@pytest.mark.parametrize("changed_rows", ["raise", "rerun"])
def test_a_map_that_gives_other_rows_is_noticed(changed_rows: str, home: Path, tmp_path: Path) -> None:
    """Its output is damaged after some partitions were reduced, and what it reads has changed by then."""
    damage = Damage(home, ("reduce", 1), "map-000003-*", PARTITION_COUNT - 1)

    def change(stage: str, done: int, total: int) -> None:
        damage(stage, done, total)
        if damage.is_done:
            (tmp_path / "time").touch()

    changes = {"read": partial(read_with_time, tmp_path / "time"), "merge_from": 100, "changed_rows": changed_rows}
    if changed_rows == "raise":
        with pytest.raises(ChangedRowsError, match="map task 3 gave other rows when it ran again"):
            job(home, None, progress=change, **changes)
    else:
        results = job(home, None, progress=change, **changes)
        assert sum(rows for _, rows, _ in results) == MAP_COUNT * workloads.ROWS - 100


def read_with_time(path: Path, number: int) -> Iterator[Any]:
    """Fewer rows, once the file is there."""
    yield from list(READ(number))[1 if number == 3 and path.exists() else 0 :]


def test_another_order_the_second_time_is_no_change(home: Path) -> None:
    """Only rows count, not the order in which they are read."""
    batches = list(READ(0))
    forwards, backwards = DigestingPartitioner(PARTITIONER), DigestingPartitioner(PARTITIONER)
    for batch in batches:
        forwards.partition_numbers(batch)
    for batch in reversed(batches):
        backwards.partition_numbers(batch.take(list(reversed(range(batch.num_rows)))))
    assert forwards.digest() == backwards.digest()
    forwards.partition_numbers(batches[0])
    assert forwards.digest() != backwards.digest()


def test_what_a_dead_driver_leaves_is_swept_by_the_next_job(home: Path) -> None:
    with driver(home) as process:
        process.kill()
    left = list(home.iterdir())
    assert left, "nobody was there to remove it"
    time.sleep(0.6)
    assert job(home, None) == EXPECTED
    assert not any(path.exists() for path in left)


def test_a_job_takes_over_what_a_dead_driver_published(home: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest"
    with driver(home, manifest) as process:
        process.kill()
    with open(manifest, "ab") as file:
        file.write(b'{"maps": [9], "at')  # a line that the crash cut
    results = job(home, None, resume=manifest)
    assert results == EXPECTED
    assert results.report.stages["map"].attempts <= MAP_COUNT - 6
    assert not manifest.exists()


def reduce_to_what_cannot_be_pickled(partition: int, rows: Any) -> Any:
    return lambda: REDUCE(partition, rows)


@pytest.mark.parametrize(("reduce", "kept"), [(REDUCE, 4), (reduce_to_what_cannot_be_pickled, 0)])
def test_a_job_takes_over_results_that_can_be_pickled(reduce: Any, kept: int, home: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest"

    def interrupt(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("reduce", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job(home, None, resume=manifest, reduce=reduce, progress=interrupt)
    results = job(home, None, resume=manifest)
    assert results == EXPECTED
    assert results.report.stages["map"].attempts == 0
    assert results.report.stages["reduce"].attempts == PARTITION_COUNT - kept


@pytest.mark.parametrize("digest", ["same", "other"])
def test_results_do_not_outlive_the_rows_of_a_map(digest: str, tmp_path: Path) -> None:
    path, unit = tmp_path / "manifest", Unit(2, 4)
    for again, expected in ((False, {}), (True, {unit: ["two", "three"]} if digest == "same" else {})):
        manifest = Manifest(path, {}, "job", "secret")
        assert manifest.reduced == expected
        if not again:
            lost = Output(maps=(1,), attempt="1", host="", path="1", rows=1, byte_count=8, digest="same")
            manifest.append(lost)
            manifest.append_results(unit, ["two", "three"])
            manifest.append_results(Unit(0, 2), [bytes(2 << 20)])  # larger than what is kept
            manifest.append(replace(lost, attempt="2", digest=digest))
        manifest.close(keep=True)


def test_a_manifest_of_another_job_is_refused(home: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest"
    with pytest.raises(LookupError):
        job(home, None, resume=manifest, attempts=1, reduce=partial(workloads.reduce, workloads.raise_an_error))
    with pytest.raises(ManifestError, match="the manifest is of another job"):
        run(range(3), READ, PARTITIONER, REDUCE, exchange=Exchange.directory(home), resume=manifest)
    assert job(home, None, resume=manifest) == EXPECTED
    manifest.write_text("[]\n")
    with pytest.raises(ManifestError, match="not the manifest of a job"):
        job(home, None, resume=manifest)


def test_an_interrupted_job_leaves_nothing_and_nobody(home: Path) -> None:
    with driver(home) as process:
        workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    assert not list(home.iterdir())
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_much(number: int) -> Iterator[Any]:
    for _ in range(100):
        yield from READ(number)


@pytest.mark.mount
def test_a_disk_that_is_full_is_an_error_that_names_it(home: Path) -> None:
    with tmpfs_mounted(1) as small, pytest.raises(DiskFullError, match="no disk has room for what a task publishes"):
        job(home, None, read=read_much, exchange=Exchange.directory(small))


@pytest.mark.mount
def test_a_disk_that_is_full_from_the_start_is_passed_over(home: Path) -> None:
    with tmpfs_mounted(1) as full:
        (full / "large").write_bytes(bytes(1 << 20))
        assert job(home, None, exchange=Exchange.hosts([full, home])) == EXPECTED
        assert [path.name for path in full.iterdir()] == ["large"]
        with pytest.raises(DiskFullError, match="no disk has room"):
            job(home, None, exchange=Exchange.hosts([full]))
        os.unlink(full / "large")
