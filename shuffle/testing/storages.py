"""What every storage must do, as a class of tests for the authors of one; ``spill_format/storage`` has the protocol."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from spill_format.errors import TargetExistsError, TruncatedError
from spill_format.storage.protocol import Storage, WritableStorage

_CONTENT = bytes(range(256)) * 41


class StorageConformance:
    """The laws of a storage, as tests of pytest.

    A test class that inherits the laws says which storage it is, and how a file gets there::

    class TestMyStorage(StorageConformance):
        @pytest.fixture
        def storage(self):
            return MyStorage()

        def put(self, name, content):  # self.directory is a fresh directory
            ...
            return path
    """

    directory: str

    @pytest.fixture(autouse=True)
    def _fresh_directory(self, tmp_path: object) -> None:
        self.directory = str(tmp_path)

    @pytest.fixture
    def storage(self) -> Storage:
        """Return the storage. To be overridden."""
        raise NotImplementedError

    def put(self, name: str, content: bytes) -> str:
        """Make or replace a file, past the storage; return the path by which the storage knows the file."""
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_every_part_of_a_file_is_read(self, storage: Storage) -> None:
        with storage.open(self.put("a", _CONTENT)) as file:
            assert file.byte_count == len(_CONTENT)
            for start, stop in ((0, len(_CONTENT)), (5, 9), (len(_CONTENT) - 1, len(_CONTENT)), (0, 1), (7, 7)):
                assert file.read_at(start, stop - start) == _CONTENT[start:stop]

    def test_an_empty_file_has_no_bytes(self, storage: Storage) -> None:
        with storage.open(self.put("a", b"")) as file:
            assert (file.byte_count, file.read_at(0, 0)) == (0, b"")

    def test_what_is_beyond_the_end_is_an_error(self, storage: Storage) -> None:
        with storage.open(self.put("a", _CONTENT)) as file:
            for offset in (len(_CONTENT) - 3, len(_CONTENT), len(_CONTENT) + 100):
                with pytest.raises(TruncatedError) as caught:
                    file.read_at(offset, 4)
                assert (caught.value.path, caught.value.offset) == (file.path, offset)

    def test_a_missing_file_is_not_found(self, storage: Storage) -> None:
        path = self.put("a", _CONTENT)
        with pytest.raises(FileNotFoundError):
            storage.open(path + ".missing")

    def test_threads_read_at_the_same_time(self, storage: Storage) -> None:
        with storage.open(self.put("a", _CONTENT)) as file, ThreadPoolExecutor(8) as executor:
            pieces = executor.map(lambda start: file.read_at(start, 64), range(0, len(_CONTENT), 64))
            assert b"".join(pieces) == _CONTENT

    def test_a_closed_file_is_not_read(self, storage: Storage) -> None:
        file = storage.open(self.put("a", _CONTENT))
        file.close()
        file.close()
        with pytest.raises(ValueError, match="the file is closed"):
            file.read_at(0, 1)

    def test_descriptors_are_there_where_they_are_declared(self, storage: Storage) -> None:
        with storage.open(self.put("a", _CONTENT)) as file:
            assert (file.descriptor is not None) == storage.abilities.has_descriptors
            if file.descriptor is not None:
                assert os.pread(file.descriptor, 9, 1) == _CONTENT[1:10]

    def test_an_identity_tells_a_file_from_its_rewrite(self, storage: Storage) -> None:
        path = self.put("a", _CONTENT)
        with storage.open(path) as file, storage.open(path) as again:
            assert file.identity == again.identity
        before = file.identity
        if before is not None:
            while os.stat(path).st_mtime_ns == before.modified_ns:  # clocks of file systems tick
                self.put("a", _CONTENT[::-1])
            with storage.open(path) as rewritten:
                assert rewritten.identity != before


class WritableStorageConformance(StorageConformance):
    """The laws of a storage that can also be written; see ``StorageConformance``."""

    @pytest.fixture
    def storage(self) -> WritableStorage:
        """Return the storage. To be overridden."""
        raise NotImplementedError

    def test_a_file_appears_when_it_is_published(self, storage: WritableStorage) -> None:
        path = self.put("a", b"") + ".new"
        with storage.create(path) as file:
            with file.stream() as stream:
                stream.write(_CONTENT)
            if storage.abilities.publishes_atomically:
                with pytest.raises(FileNotFoundError):
                    storage.open(path)
            file.publish()
        with storage.open(path) as published:
            assert published.read_at(0, published.byte_count) == _CONTENT

    def test_a_discarded_file_never_appears(self, storage: WritableStorage) -> None:
        path = self.put("a", b"") + ".new"
        with storage.create(path) as file, file.stream() as stream:
            stream.write(_CONTENT)
        with pytest.raises(FileNotFoundError):
            storage.open(path)

    def test_an_existing_file_is_replaced_only_when_asked(self, storage: WritableStorage) -> None:
        path = self.put("a", b"old")
        with pytest.raises(TargetExistsError):
            storage.create(path)
        with storage.create(path, overwrite=True, durable=True) as file:
            with file.stream() as stream:
                stream.write(_CONTENT)
            if storage.abilities.replaces_atomically:
                with storage.open(path) as old:
                    assert old.read_at(0, old.byte_count) == b"old"
            file.publish()
        with storage.open(path) as published:
            assert published.read_at(0, published.byte_count) == _CONTENT
