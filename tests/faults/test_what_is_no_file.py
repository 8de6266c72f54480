"""A pipe, socket or device in the place of a file is refused at once, by whatever opens a file that a user named."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.helpers.commands import run

COMMANDS = {
    "merge": "shuffle merge a.arrow -o out.arrow",
    "merge of a directory": "shuffle merge spills -o out.arrow",
    "merge of Spark's files": "shuffle merge a.data -o out.data",
    "verify": "shuffle verify a.arrow",
    "inspect": "shuffle inspect a.arrow",
    "read": "shuffle read a.arrow -p 0",
    "read --raw": "shuffle read --raw a.arrow -p 0",
    "repair": "shuffle repair a.arrow -o out.arrow",
    "diff": "shuffle diff a.arrow a.arrow",
    "partition": "shuffle partition a.parquet --by n --partitions 2 -o out.arrow",
    "partition of CSV": "shuffle partition a.csv --by n --partitions 2 -o out.arrow",
    "serve: tokens": "shuffle serve spills --port 0 --token-file a.txt",
    "serve: certificate": "shuffle serve spills --port 0 --certificate a.pem",
    "serve: authority": "shuffle serve spills --port 0 --certificate sound.pem --client-authority a.pem",
    "fetch: token": "shuffle fetch http://127.0.0.1:1/a.arrow -p 0 --token-file a.txt -o out.arrow",
    "fetch: authority": "shuffle fetch https://127.0.0.1:1/a.arrow -p 0 --authority a.pem -o out.arrow",
}


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_link_to_device])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, command: str, make: object) -> None:
    (tmp_path / "spills").mkdir()
    (tmp_path / "sound.pem").touch()
    for name in ("a.arrow", "a.data", "a.parquet", "a.csv", "a.txt", "a.pem", "spills/a.spill.arrow"):
        make(tmp_path / name)  # type: ignore[operator]
    completed = run(command, tmp_path)
    assert completed.returncode in {1, 2}
    assert "device, pipe or socket" in completed.stderr + completed.stdout
    assert not list(tmp_path.glob("out.*"))
