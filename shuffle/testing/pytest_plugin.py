"""Fixtures for tests of partitioned files. pytest finds this module by itself wherever the project is installed.

Every run of pytest imports it, so nothing but pytest is imported before a fixture is used.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from shuffle.testing.rows import Partitions

_REFLINK_MIB = 2048  # of a sparse image: it takes the room of what is written


@pytest.fixture
def spill_dir(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; every partitioned file that a test leaves in it must verify, or the test has an error."""
    from shuffle.testing.spills import verify_spills

    directory = tmp_path / "spills"
    directory.mkdir()
    yield directory
    verify_spills(directory)


@pytest.fixture
def spill_factory(spill_dir: Path) -> Callable[..., Path]:
    """``spill_factory({partition: rows}, name=None, **options)``: ``write_spill`` into ``spill_dir``.

    Without a name they are ``spill-0.spill.arrow`` and so on. It returns the path.
    """
    from shuffle.testing.spills import write_spill

    count = 0

    def make(partitions: Partitions, name: str | None = None, **options: Any) -> Path:
        nonlocal count
        if name is None:
            name = f"spill-{count}.spill.arrow"
            count += 1
        return write_spill(partitions, spill_dir / name, **options)

    return make


@pytest.fixture(scope="session")
def _reflink_mount() -> Iterator[Path]:
    """An XFS of the test session's own, which shares blocks; skips with the reason where none can be mounted."""
    from shuffle.testing.file_systems import CannotMountError, loop_mounted

    with ExitStack() as stack:
        try:
            mount_point = stack.enter_context(loop_mounted("xfs", _REFLINK_MIB))
        except CannotMountError as error:
            pytest.skip(str(error))
        yield mount_point


@pytest.fixture
def reflink_dir(_reflink_mount: Path) -> Iterator[Path]:
    """An empty directory on XFS, where files can share blocks: a loop mount, so root and mkfs.xfs are needed."""
    directory = tempfile.mkdtemp(dir=_reflink_mount)
    yield Path(directory)
    shutil.rmtree(directory)
