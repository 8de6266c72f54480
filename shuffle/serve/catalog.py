"""The files below a root: found, opened once, checked, and kept open while there is room.

``resource.py`` decides what a name may look like. Here a file is checked once it is open: it must really lie below the
root, and be a partitioned file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from shuffle.machine.threads import Threads
from shuffle.serve.extent import Extent, RangeSums, extent_of
from shuffle.serve.resource import EXTENSION
from spill_format.errors import NotPartitionedError, SpillError
from spill_format.layout import PartitionLayout
from spill_format.storage.identity import FileIdentity
from spill_format.storage.local import check_regular, read_exactly
from spill_format.structure import Outline, read_outline

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors of too many open files in this process or system: they say nothing about the requested file."""

_OPENING_THREADS = 4
_WHOLE_PARTITIONS = 65_536
"""The layout of a file with this many partitions or fewer is read when the file is opened, and kept: 1.3 MiB."""
_PARTITIONS_AT_ONCE = 2048
_MAXIMUM_KNOWN = 10_000
"""Files whose description the listing remembers, and names that have been served."""


class OpenFile:
    """A file below the root, open for reading. Each user calls ``release`` once, or leaves a ``with``.

    Attributes:
        name: its path below the root.
        descriptor: open until the last user has released the file.
        identity: of the file when it was opened.
    """

    __slots__ = ("_users", "descriptor", "identity", "name")

    def __init__(self, name: str, descriptor: int, identity: FileIdentity) -> None:
        self.name: str = name
        self.descriptor: int = descriptor
        self.identity: FileIdentity = identity
        self._users = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def retain(self) -> None:
        """Add a user, while the file is open."""
        self._users += 1

    def release(self) -> None:
        """Remove a user; the last one closes the file."""
        self._users -= 1
        if self._users == 0:
            os.close(self.descriptor)

    def is_unchanged(self) -> bool:
        """Return whether the open file was not written to. Whether its name is another file's now does not matter."""
        return FileIdentity.of(os.fstat(self.descriptor)) == self.identity


class ServedFile(OpenFile):
    """An open partitioned file, with its description as far as it has been read.

    Attributes:
        identity_text: a digest of its identity, for entity tags.
        outline: what opening it reads.
    """

    __slots__ = ("_layout", "_lock", "_sums", "identity_text", "outline")

    def __init__(self, name: str, descriptor: int, identity: FileIdentity) -> None:
        super().__init__(name, descriptor, identity)
        self.identity_text: str = hashlib.blake2b(repr(tuple(identity)).encode(), digest_size=8).hexdigest()
        check_regular(os.fstat(descriptor), name)
        self.outline: Outline = read_outline(self._read_at, name, identity.byte_count)
        self._lock = threading.Lock()
        self._sums: RangeSums | None = None
        self._layout: PartitionLayout | None = None
        if self.partition_count <= _WHOLE_PARTITIONS:
            self._layout = self.outline.index.layout(self._read_at)

    @property
    def partition_count(self) -> int:
        """P."""
        return self.outline.index.summary.partition_count

    @property
    def memory_bytes(self) -> int:
        """Memory of the file's description, about."""
        layout_bytes = 20 * self.partition_count
        index = self.outline.index
        described = len(self.outline.schema_message) + len(index.footer_template) + len(index.partitioner)
        return described + layout_bytes * (self._layout is not None) + layout_bytes * (self._sums is not None)

    def layout(self, start: int, stop: int) -> PartitionLayout:
        """The layout of partitions ``start`` … ``stop - 1``, read and checked unless it is known.

        Raises:
            SpillError: the index is damaged there.
            OSError: it cannot be read.
        """
        known = self._layout
        if known is None:
            return self.outline.index.layout(self._read_at, start, stop)
        assert known.rows is not None  # an index always has them
        assert known.crc32c is not None
        return PartitionLayout(known.offsets[start : stop + 1], known.rows[start:stop], known.crc32c[start:stop])

    def layouts(self) -> Iterator[PartitionLayout]:
        """The layout of all partitions, some thousands at a time; as ``layout``."""
        for start in range(0, self.partition_count, _PARTITIONS_AT_ONCE):
            yield self.layout(start, min(start + _PARTITIONS_AT_ONCE, self.partition_count))

    def extent(self, start: int, stop: int) -> Extent | None:
        """Return the place and checksum of partitions ``start`` … ``stop - 1``; None if ``sum_up`` must run first.

        Raises:
            SpillError, OSError: as for ``layout``.
        """
        if self._sums is not None:
            return self._sums.extent(start, stop)
        known = self._layout
        if known is not None and stop - start == 1:  # what reducers ask for by the million
            assert known.rows is not None  # an index always has them
            assert known.crc32c is not None
            offset_of = known.offsets.item
            return Extent(offset_of(start), offset_of(stop), known.rows.item(start), known.crc32c.item(start))
        return extent_of(self.layout(start, stop)) if stop - start <= _PARTITIONS_AT_ONCE else None

    def sum_up(self) -> None:
        """Prepare so that each extent takes one step. It is slow, and runs once a file; from any thread.

        Raises:
            SpillError, OSError: as for ``layout``.
        """
        with self._lock:
            if self._sums is None:
                self._sums = RangeSums(self.layout(0, self.partition_count))

    def _read_at(self, offset: int, byte_count: int) -> bytes:
        return read_exactly(self.descriptor, offset, byte_count, self.name)


class Listed(NamedTuple):
    """A file in the listing.

    Attributes:
        name: its path below the root.
        byte_count: its size.
        partition_count, row_count: None if the file is damaged.
        problem: what is wrong with it, or None.
    """

    name: str
    byte_count: int
    partition_count: int | None
    row_count: int | None
    problem: str | None


class Catalog:
    """The files below ``root``.

    Args:
        root: a directory. Symbolic links below it are followed as long as they stay below it.
        open_files: files kept open between requests, at most.
        layout_bytes: memory of their descriptions, at most; the file opened last may take more.

    Raises:
        OSError: the root is not a directory.

    ``open`` and ``listing`` may be called from any thread, all other methods from the event loop's.
    """

    def __init__(self, root: str | os.PathLike[str], open_files: int, layout_bytes: int = 64 << 20) -> None:
        self.root: str = os.path.realpath(root)
        if not stat.S_ISDIR(os.stat(self.root).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.root)
        self._open_files = open_files
        self._layout_bytes = layout_bytes
        self._kept: OrderedDict[str, ServedFile] = OrderedDict()
        self._known: OrderedDict[tuple[str, FileIdentity], Listed | None] = OrderedDict()
        self._known_lock = threading.Lock()
        self._names_had: OrderedDict[str, None] = OrderedDict()
        # Two pools, so that a long listing does not delay opening.
        self._opening = Threads(_OPENING_THREADS, "shuffle-open")
        self._looking = Threads(1, "shuffle-list")
        self._listing: asyncio.Future[list[Listed]] | None = None

    @property
    def kept_count(self) -> int:
        """Files that are kept open."""
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """Memory of the descriptions of the files that are kept open, about."""
        return sum(file.memory_bytes for file in self._kept.values())

    async def opened(self, name: str) -> ServedFile:
        """Open a file in another thread, and keep it; to be released. As ``open``."""
        file = await asyncio.wrap_future(self._opening.submit(self.open, name))
        self.keep(file)
        return file

    async def summed_up(self, file: ServedFile) -> None:
        """Let a file know every extent, in another thread; as ``ServedFile.sum_up``."""
        await asyncio.wrap_future(self._opening.submit(file.sum_up))
        self._make_room()

    async def listed(self) -> list[Listed]:
        """Make the listing in another thread, once for all requests that wait for it; as ``listing``."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.wrap_future(self._looking.submit(self.listing))
        return await asyncio.shield(self._listing)

    def find(self, name: str) -> ServedFile | None:
        """Return the file of a name if it is kept open and still has that name; to be released.

        Raises:
            FileNotFoundError: the name is gone.
            OSError: it cannot be looked at.
        """
        kept = self._kept.get(name)
        if kept is None:
            return None
        try:
            unchanged = FileIdentity.of(os.stat(self._path(name))) == kept.identity
        except OSError:
            self._drop(name)
            raise
        if not unchanged:
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        kept.retain()
        return kept

    def open(self, name: str) -> ServedFile:
        """Open the file of a name and check all that describes it; to be released.

        Raises:
            FileNotFoundError: there is none, or it lies outside of the root.
            SpillError: it is not a partitioned file, or damaged.
            OSError: it cannot be read.
        """
        descriptor, identity = self._opened(name)
        try:
            return ServedFile(name, descriptor, identity)
        except BaseException:
            os.close(descriptor)
            raise

    def reopen(self, file: OpenFile) -> OpenFile:
        """A file that may have been released, open as it was then; to be released again.

        Raises:
            SpillError: another file has its name, or it was written.
            OSError: it cannot be opened.
        """
        kept = self._kept.get(file.name)
        if kept is not None and kept.identity == file.identity:
            kept.retain()
            return kept
        descriptor, identity = self._opened(file.name)
        if identity != file.identity:
            os.close(descriptor)
            raise SpillError("the file was replaced before it was sent", path=file.name)
        return OpenFile(file.name, descriptor, identity)

    def keep(self, file: ServedFile) -> None:
        """Keep a file open for later requests; the least recently used file makes room."""
        self._drop(file.name)
        file.retain()
        self._kept[file.name] = file
        self._names_had[file.name] = None
        self._names_had.move_to_end(file.name)
        if len(self._names_had) > _MAXIMUM_KNOWN:
            self._names_had.popitem(last=False)
        self._make_room()

    def has_had(self, name: str) -> bool:
        """Whether a file of this name was opened before, as far as is remembered."""
        return name in self._names_had

    def close(self) -> None:
        """Keep nothing open any more."""
        for name in list(self._kept):
            self._drop(name)
        for threads in (self._opening, self._looking):
            threads.close(waits=False)

    def listing(self) -> list[Listed]:
        """All partitioned files below the root, sorted by name; damaged ones with what is wrong with them.

        Raises:
            OSError: too many files are open to look.
        """
        return [listed for name in sorted(self._names()) if (listed := self._listed(name)) is not None]

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _opened(self, name: str) -> tuple[int, FileIdentity]:
        """Descriptor and identity of the file that has a name."""
        # Without blocking: a pipe would wait for its writer.
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._check_place(descriptor, name)
            return descriptor, FileIdentity.of(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def _check_place(self, descriptor: int, name: str) -> None:
        """It is a regular file, and below the root: that is asked of the kernel, since a path may change meanwhile."""
        try:
            place = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # not on Linux
            place = os.path.realpath(self._path(name))
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not regular or not place.startswith(f"{self.root.rstrip('/')}/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def _make_room(self) -> None:
        """Drop the least recently used files until the limits hold; the last file stays."""
        byte_count = self.kept_bytes
        while len(self._kept) > self._open_files or (byte_count > self._layout_bytes and len(self._kept) > 1):
            oldest = next(iter(self._kept))
            byte_count -= self._kept[oldest].memory_bytes
            self._drop(oldest)

    def _drop(self, name: str) -> None:
        dropped = self._kept.pop(name, None)
        if dropped is not None:
            dropped.release()

    def _names(self) -> Iterator[str]:
        for directory, _, names in os.walk(self.root, onerror=_raise_without_descriptors):
            below = os.path.relpath(directory, self.root)
            for name in names:
                if name.endswith(EXTENSION):
                    yield name if below == "." else f"{below}/{name}"

    def _listed(self, name: str) -> Listed | None:
        """A file's line of the listing, or None where it is not partitioned, not readable, or gone meanwhile."""
        try:
            identity = FileIdentity.of(os.stat(self._path(name)))
        except OSError:
            return None
        with self._known_lock:
            if (name, identity) in self._known:
                return self._known[name, identity]
        listed = self._examined(name, identity.byte_count)
        with self._known_lock:
            self._known[name, identity] = listed
            while len(self._known) > _MAXIMUM_KNOWN:
                self._known.popitem(last=False)
        return listed

    def _examined(self, name: str, byte_count: int) -> Listed | None:
        try:
            with self.open(name) as file:
                row_count = sum(int(layout.rows.sum()) for layout in file.layouts() if layout.rows is not None)
                return Listed(name, byte_count, file.partition_count, row_count, None)
        except NotPartitionedError:
            return None
        except OSError as error:
            _raise_without_descriptors(error)
            return None
        except SpillError as error:
            return Listed(name, byte_count, None, None, error.problem)


def _raise_without_descriptors(error: OSError) -> None:
    """Raise errors of too many open files: they must not be remembered as a file that is not there."""
    if error.errno in NO_DESCRIPTORS:
        raise error
