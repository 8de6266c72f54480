"""Each storage keeps the laws of all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.fs
import pytest

from shuffle.testing import StorageConformance, WritableStorageConformance
from spill_format.errors import SpillError
from spill_format.storage.local import LOCAL, LocalStorage, open_regular
from spill_format.storage.remote import RemoteStorage
from tests.helpers.http_files import HttpFiles, http_files


class TestLocal(WritableStorageConformance):
    @pytest.fixture
    def storage(self) -> LocalStorage:
        return LOCAL


class TestArrowFileSystem(StorageConformance):
    @pytest.fixture
    def storage(self) -> RemoteStorage:
        return RemoteStorage(pyarrow.fs.LocalFileSystem())


class TestFsspec(StorageConformance):
    @pytest.fixture
    def storage(self) -> RemoteStorage:
        return RemoteStorage(fsspec.filesystem("file"))


class TestUrl(StorageConformance):
    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[HttpFiles]:
        fsspec.filesystem("http").clear_instance_cache()
        with http_files(tmp_path) as self.files:
            yield self.files

    @pytest.fixture
    def storage(self) -> RemoteStorage:
        return RemoteStorage()

    def put(self, name: str, content: bytes) -> str:
        super().put(name, content)
        return f"{self.files.url}/{name}"


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_link_to_device])
def test_what_has_no_bytes_is_refused_without_waiting(tmp_path: Path, make: object) -> None:
    before = os.listdir("/proc/self/fd")
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(SpillError, match="device, pipe or socket"):
        open_regular(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    assert os.listdir("/proc/self/fd") == before
