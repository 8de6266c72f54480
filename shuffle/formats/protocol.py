"""What a format must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple, Protocol

from shuffle.config import MergeOptions
from shuffle.plan import MergePlan
from shuffle.sources import Source
from spill_format.layout import PartitionLayout
from spill_format.publish import PendingFile


class Trailer(NamedTuple):
    """The target behind its last range: its bytes, and the layout of the whole."""

    content: bytes
    layout: PartitionLayout


class MergeFormat(Protocol):
    """A kind of partitioned files."""

    def open_source(self, path: str | PathLike[str]) -> Source:
        """Read and check what a file says of itself, and close it again.

        Raises:
            SpillError: the file is damaged, or not of this format.
            OSError: it cannot be opened.
        """
        ...

    def check_agreement(self, sources: Sequence[Source]) -> None:
        """Raise MismatchError unless sources of one partition count can become one file."""
        ...

    def header(self, sources: Sequence[Source]) -> bytes:
        """The target up to its first range."""
        ...

    def trailer(self, sources: Sequence[Source], plan: MergePlan) -> Trailer:
        """The target behind its last range."""
        ...

    def check_target(self, target: str | PathLike[str]) -> None:
        """Raise ValueError if a file of this format cannot have that name."""
        ...

    def publish(self, pending: PendingFile, plan: MergePlan, options: MergeOptions) -> None:
        """Make a complete target appear, with what belongs to it.

        Raises:
            TargetExistsError: it is there already, and overwriting was not asked for.
        """
        ...

    def delete(self, source: Source) -> None:
        """Remove a source, with what belongs to it."""
        ...
