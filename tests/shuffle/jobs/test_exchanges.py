"""The exchanges of a job: what is left of a job that died, and what tasks see that come too late."""

import os
import pickle
import re
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shuffle import Exchange, HashPartitioner, MapOptions, run
from shuffle.jobs.descriptor import Server, Source
from shuffle.jobs.engines import Engine, this_host
from shuffle.jobs.exchanges import home as homes
from shuffle.jobs.exchanges.home import Home, launch_server
from shuffle.jobs.exchanges.hosts import HostFiles
from shuffle.jobs.exchanges.leases import has_lease, sweep, write_lease
from shuffle.jobs.reading import SourceLostError, Traffic, read_unit
from shuffle.jobs.reduce_units import Unit
from shuffle.jobs.tasks import AbandonedError, map_task
from shuffle.testing import ExchangeConformance, tmpfs_mounted
from shuffle.testing.hosts import signal_servers
from tests.shuffle.jobs.workloads import READ

pytestmark = pytest.mark.process

PARTITIONER = HashPartitioner("key", 3)


class TestDirectory(ExchangeConformance):
    @pytest.fixture
    def exchange(self, tmp_path: Path) -> Exchange:
        return Exchange.directory(tmp_path)


class TestHosts(ExchangeConformance):
    @pytest.fixture
    def exchange(self, tmp_path: Path) -> Exchange:
        return Exchange.hosts([tmp_path / "one", tmp_path / "other"])


def test_a_task_that_cannot_publish_because_its_job_has_ended_says_so(tmp_path: Path) -> None:
    keeper = Exchange.directory(tmp_path).keep("job", "secret", this_host, 60)

    def read_to_the_end(number: int) -> Any:
        yield from READ(number)
        keeper.close(Engine(None), keep=False)

    with pytest.raises(AbandonedError, match=r"map task 3: .* is gone, and so is its job"):
        map_task(3, 3, read_to_the_end, PARTITIONER, keeper.files, MapOptions())
    assert not list(tmp_path.iterdir())


def test_only_what_has_no_lease_is_swept(tmp_path: Path) -> None:
    for name, seconds in (("shuffle-dead", 0.001), ("shuffle-alive", 60)):
        (tmp_path / name).mkdir()
        write_lease(str(tmp_path / name), seconds)
    (tmp_path / "shuffle-begins").mkdir()
    (tmp_path / "other").mkdir()
    time.sleep(0.01)
    assert sweep(str(tmp_path)) == [str(tmp_path / "shuffle-dead")]
    assert sorted(os.listdir(tmp_path)) == ["other", "shuffle-alive", "shuffle-begins"]
    assert has_lease(str(tmp_path / "shuffle-alive"))


def test_a_server_whose_driver_died_ends_with_its_lease(tmp_path: Path) -> None:
    files = HostFiles("job", (str(tmp_path),), "secret", this_host, 3)
    files.prepare()
    server = files.server()
    assert server is not None
    with pytest.raises(ConnectionError, match="answered with 404"):
        files.ask(server, "POST", "/nothing")
    with pytest.raises(ConnectionError, match="answered with 401"):
        HostFiles("job", (str(tmp_path),), "guess", this_host, 1).ask(server, "POST", "/end")
    deadline = time.monotonic() + 20
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_secret_travels_where_each_host_has_it_in_a_file(tmp_path: Path) -> None:
    secret_file, disk = tmp_path / "secret", tmp_path / "disk"
    secret_file.write_text("open sesame\n")
    work = partial(run, range(3), READ, PARTITIONER, count)
    exchange = Exchange.hosts([disk], secret_file=secret_file)
    with pytest.raises(ValueError, match="must be readable by its owner alone"):
        work(exchange=exchange)
    secret_file.chmod(0o600)
    assert work(exchange=exchange) == work()
    assert not list(disk.iterdir())

    files, other = (HostFiles(job, (str(disk),), secret_file, this_host, 60) for job in ("job", "other"))
    assert files.token() != other.token()
    assert not {b"open sesame", files.token().encode()} & set(re.findall(rb"[\w ]+", pickle.dumps(files)))
    secret_file.write_text(" ")
    with pytest.raises(ValueError, match="the secret file is empty"):
        files.token()


def count(_partition: int, rows: Any) -> int:
    return int(rows.num_rows)


def test_a_server_that_does_not_start_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "_START_SECONDS", 0.1)
    home = Home("job", this_host().host, "192.0.2.1", (str(tmp_path),), "secret", 1)  # not an address of this host
    launch_server(home)
    with pytest.raises(TimeoutError, match=r"the server of host .* did not start within"):
        homes.find_server(home)


@pytest.mark.mount
def test_a_server_starts_on_a_disk_that_has_become_full(tmp_path: Path) -> None:
    with tmpfs_mounted(1) as disk:
        files = HostFiles("job", (str(disk),), "secret", this_host, 60)
        files.prepare()
        with suppress(OSError), open(disk / "large", "wb", 0) as large:
            while large.write(bytes(4096)):
                pass
        assert os.statvfs(disk).f_bavail == 0
        first = files.server()
        assert first is not None
        signal_servers([disk], this_host().host, signal.SIGKILL)
        again = files.revived().server
        assert again is not None
        assert again.incarnation != first.incarnation
        files.ask(again, "GET", "/health")
        files.end()


def test_a_host_without_a_server_is_unreachable(tmp_path: Path) -> None:
    files = HostFiles("job", (str(tmp_path),), "secret", this_host, 1)
    source = Source("elsewhere", "/nowhere/map.arrow", None, None, 0)
    with pytest.raises(SourceLostError, match="host elsewhere has no server"):
        next(read(source, files))
    gone = Source(this_host().host, str(tmp_path / "map.arrow"), None, None, 0)
    with pytest.raises(SourceLostError, match="No such file"):
        next(read(gone, files))


def read(source: Source, files: HostFiles) -> Any:
    from contextlib import ExitStack

    return read_unit(Unit(0, 1), [source], files, Traffic(), ExitStack())


def test_an_answer_that_is_not_http_is_no_answer(tmp_path: Path) -> None:
    from tests.helpers.proxies import scripted_server

    files = HostFiles("job", (str(tmp_path),), "secret", this_host, 1)
    with scripted_server([b"220 mail\r\n"]) as url, pytest.raises(ConnectionError, match="no answer of HTTP"):
        files.ask(Server(incarnation="", control_url=url, urls={}), "GET", "/health")


@pytest.mark.parametrize("directories", ["/data", []])
def test_directories_are_a_list(directories: Any) -> None:
    with pytest.raises(ValueError, match="directories takes one or more, in a list"):
        Exchange.hosts(directories)
