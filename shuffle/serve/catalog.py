"""The files below a root that may be served: found, opened once, checked, and kept open while there is room.

What a name may look like is ``resource.py``'s business. Here every file is checked once more when it is open: where it
really lies, and that it is a partitioned file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from shuffle.serve.resource import EXTENSION
from spill_format.errors import NotPartitionedError, SpillError
from spill_format.storage.identity import FileIdentity
from spill_format.structure import FileStructure, read_structure

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""This process, or the system, has as many files open as it may: that says nothing of the file asked for."""

_MAXIMUM_KNOWN = 10_000
"""Files whose description the listing remembers, and names that have been served."""


class ServedFile:
    """A file open for serving. Whoever was given one gives it back with ``release``, or by leaving a ``with``.

    Attributes:
        name: its path below the root.
        descriptor: open while somebody has the file.
        identity: when it was opened.
        identity_text: a digest of that, for entity tags.
        structure: what describes it.
    """

    __slots__ = ("_users", "descriptor", "identity", "identity_text", "name", "structure")

    def __init__(self, name: str, descriptor: int, identity: FileIdentity, structure: FileStructure) -> None:
        self.name = name
        self.descriptor = descriptor
        self.identity = identity
        self.identity_text = hashlib.blake2b(repr(tuple(identity)).encode(), digest_size=8).hexdigest()
        self.structure = structure
        self._users = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    @property
    def is_open(self) -> bool:
        """Whether somebody has it."""
        return self._users > 0

    def retain(self) -> None:
        """Have it once more, while it is open."""
        self._users += 1

    def release(self) -> None:
        """Give it back; the last one closes it."""
        self._users -= 1
        if self._users == 0:
            os.close(self.descriptor)

    def is_unchanged(self) -> bool:
        """Whether nobody has written into the open file. That its name is another file's now, or gone, is no change."""
        return FileIdentity.of(os.fstat(self.descriptor)) == self.identity


class Listed(NamedTuple):
    """A file as the listing has it.

    Attributes:
        name: its path below the root.
        byte_count: its size.
        partition_count, row_count: None where it is damaged.
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
        open_files: how many are kept open that nobody is being sent.

    Raises:
        OSError: the root is no directory.

    ``open`` and ``listing`` may be called from any thread; all else belongs to one, the server's.
    """

    def __init__(self, root: str | os.PathLike[str], open_files: int) -> None:
        self.root = os.path.realpath(root)
        if not stat.S_ISDIR(os.stat(self.root).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.root)
        self._open_files = open_files
        self._kept: OrderedDict[str, ServedFile] = OrderedDict()
        self._known: OrderedDict[tuple[str, FileIdentity], Listed | None] = OrderedDict()
        self._known_lock = threading.Lock()
        self._names_had: OrderedDict[str, None] = OrderedDict()

    @property
    def kept_count(self) -> int:
        """Files that are kept open."""
        return len(self._kept)

    def find(self, name: str) -> ServedFile | None:
        """The file of a name if it is kept open and still the one of that name; to be released.

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
            return ServedFile(name, descriptor, identity, read_structure(descriptor, name))
        except BaseException:
            os.close(descriptor)
            raise

    def reopen(self, file: ServedFile) -> ServedFile:
        """A file that was released, open as it was then; to be released again. What describes it is not read again.

        Raises:
            SpillError: another file has its name, or it was written.
            OSError: it cannot be opened.
        """
        if file.is_open:
            file.retain()
            return file
        descriptor, identity = self._opened(file.name)
        if identity != file.identity:
            os.close(descriptor)
            raise SpillError("the file was replaced before it was sent", path=file.name)
        return ServedFile(file.name, descriptor, identity, file.structure)

    def keep(self, file: ServedFile) -> None:
        """Keep an opened file open for those who ask later; the least recently used one makes room."""
        self._drop(file.name)
        file.retain()
        self._kept[file.name] = file
        self._names_had[file.name] = None
        self._names_had.move_to_end(file.name)
        if len(self._names_had) > _MAXIMUM_KNOWN:
            self._names_had.popitem(last=False)
        while len(self._kept) > self._open_files:
            self._drop(next(iter(self._kept)))

    def has_had(self, name: str) -> bool:
        """Whether a file of this name was opened before, as far as is remembered."""
        return name in self._names_had

    def close(self) -> None:
        """Keep nothing open any more."""
        for name in list(self._kept):
            self._drop(name)

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
            file = self.open(name)
        except NotPartitionedError:
            return None
        except OSError as error:
            _raise_without_descriptors(error)
            return None
        except SpillError as error:
            return Listed(name, byte_count, None, None, error.problem)
        layout = file.structure.index.layout
        file.release()
        return Listed(name, byte_count, layout.partition_count, layout.row_count, None)


def _raise_without_descriptors(error: OSError) -> None:
    """What cannot be looked at now is not to be remembered as what is not there."""
    if error.errno in NO_DESCRIPTORS:
        raise error
