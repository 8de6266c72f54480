"""What a partitioned file is, on disk: an Arrow IPC file whose record batches are grouped into ranges, one a partition.

FORMAT.md is the byte layout. Nothing here knows of merging, and nothing imports ``shuffle``. Names are imported when
they are first used, so that a merge, which decodes nothing, does not wait for pyarrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    ChecksumError,
    CorruptError,
    MismatchError,
    NotPartitionedError,
    PositionError,
    SpillError,
    TargetExistsError,
    TruncatedError,
    VersionError,
)
from .layout import PartitionLayout
from .partitioner import PartitionerDescription

if TYPE_CHECKING:
    from .reader import SpillFile
    from .writer import SpillWriter

__all__ = [
    "ChecksumError",
    "CorruptError",
    "MismatchError",
    "NotPartitionedError",
    "PartitionLayout",
    "PartitionerDescription",
    "PositionError",
    "SpillError",
    "SpillFile",
    "SpillWriter",
    "TargetExistsError",
    "TruncatedError",
    "VersionError",
]


def __getattr__(name: str) -> Any:
    if name == "SpillFile":
        from .reader import SpillFile

        return SpillFile
    if name == "SpillWriter":
        from .writer import SpillWriter

        return SpillWriter
    if name == "__version__":
        from importlib.metadata import version

        return version("shuffle-merge")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
