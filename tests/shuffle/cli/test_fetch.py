"""``shuffle serve`` and ``shuffle fetch`` as their users run them."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow as pa
import pytest

from spill_format import SpillFile
from tests.helpers.commands import error_of, run, succeeded
from tests.helpers.servers import running
from tests.helpers.spills import random_spill

FETCH = "shuffle fetch https://127.0.0.1:1/a.arrow -p 0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    random_spill(tmp_path / "root" / "a.arrow", [30, 0, 500])
    return tmp_path / "root"


@pytest.mark.parametrize("arguments", ["/a.arrow -p 0-2", "/a.arrow/partitions/0-2"])
def test_partitions_are_fetched_to_a_file_or_a_pipe(root: Path, tmp_path: Path, arguments: str) -> None:
    with running(root) as server, SpillFile(root / "a.arrow") as spill:
        succeeded(f"shuffle fetch {server.url}{arguments} -o x.arrows", tmp_path)
        assert pa.ipc.open_stream((tmp_path / "x.arrows").read_bytes()).read_all() == spill.read(0, 3)
        assert "the target already exists" in error_of(
            run(f"shuffle fetch {server.url}{arguments} -o x.arrows", tmp_path)
        )
        piped = tmp_path / "piped"
        completed = run(f"shuffle fetch {server.url}{arguments} -o {piped} --quiet", tmp_path)
        assert (completed.returncode, completed.stderr) == (0, "")
        assert server.stop(signal.SIGTERM) == 143
    error = error_of(run(f"shuffle fetch {server.url}{arguments} --attempts 1 -o y", tmp_path))
    assert error == f"{server.url}/a.arrow/partitions/0-2: the network failed: Connection refused"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("shuffle fetch http://127.0.0.1:1/a.arrow", "name partitions either in the URL or with -p"),
        ("shuffle fetch http://127.0.0.1:1/a.arrow/partitions/3 -p 3", "name partitions either in the URL or with -p"),
        ("shuffle fetch a.arrow -p 3", "not the URL of a server"),
        ("shuffle serve nowhere", "nowhere: No such file or directory"),
        ("shuffle serve . --key x", "of no use without a certificate"),
        ("shuffle serve . --certificate x", "No such file or directory"),
        ("shuffle serve . --token-file x", "x: No such file or directory"),
        ("shuffle serve . --unix x --port 80", "--unix or --host and --port, not both"),
        ("shuffle serve . --unix " + 120 * "x", "x: cannot listen at the unix socket: AF_UNIX path too long"),
        ("shuffle serve . --host x..y --port 80", "cannot listen at x..y:80: "),
        ("shuffle serve . --access-log-format json", "--access-log-format is for --access-log"),
        ("shuffle serve . --queue-seconds -1", "Invalid value for '--queue-seconds'"),
        (f"{FETCH} --timeout 0", "Invalid value for '--timeout'"),
        (f"{FETCH} --overwrite", "--overwrite is for -o"),
        ("shuffle read x --overwrite", "--overwrite is for -o"),
        # Files here are not the network's fault, and are not tried again.
        (f"{FETCH} --key x", "a key is of no use without its certificate: give that, too"),
        (f"{FETCH} --token-file x", "x: No such file or directory"),
        (f"{FETCH} --authority x", "x: No such file or directory"),
        (f"{FETCH} --authority /etc/passwd", "/etc/passwd: no certificate, key or authority that can be used: "),
        ("shuffle fetch http://h:99999/a.arrow -p 3", "http://h:99999/a.arrow: Port out of range 0-65535"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, command: str, error: str) -> None:
    assert error in error_of(run(command, tmp_path))


def test_the_port_is_taken(root: Path, tmp_path: Path) -> None:
    with running(root) as server:
        assert "Address already in use" in error_of(run(f"shuffle serve root --port {server.address[1]}", tmp_path))
