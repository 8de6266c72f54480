"""What a format must be able to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Literal, NamedTuple, Protocol

from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import Source, SourceSearch
from shuffle.options import MergeOptions
from spill_format.layout import PartitionLayout
from spill_format.range_checksums import RangeChecksums
from spill_format.storage.publication import PendingFile

TargetState = Literal["none", "other", "alike", "same", "unfinished"]
"""Of a target that may be the result of the same merge: it is not there, or nothing to be recognized; another one; one
that records the same layout and no checksums; the same; ranges that lack what makes them a target."""


class Content(Protocol):
    """Bytes in pieces, made anew whenever they are asked for, so that they need not all be held; ``()`` is none."""

    def __len__(self) -> int:
        """How many bytes."""
        ...

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """The pieces; each is done with when the next is asked for."""
        ...


class Trailer(NamedTuple):
    """The target behind its last range: its bytes, the layout of the whole, and checksums of its ranges if known."""

    content: Content
    layout: PartitionLayout
    checksums: RangeChecksums | None


class MergeFormat(Protocol):
    """A kind of partitioned files."""

    def open_sources(self, paths: Sequence[str | PathLike[str]], search: SourceSearch) -> list[Source]:
        """Find the files meant by ``paths``, read and check what each says of itself, and close it again.

        What is wrong with a file is left to ``search``.

        Raises:
            ValueError: a directory holds none.
            OSError: a directory cannot be listed.
        """
        ...

    def check_agreement(
        self, sources: Sequence[Source], *, mix_partitioners: bool = False, missing_spills: int | None = 0
    ) -> None:
        """Raise MismatchError unless sources of one partition count can become one file.

        Args:
            sources: at least one.
            mix_partitioners: whether their partitioners may differ.
            missing_spills: how many of the spills that map tasks kept may be missing; None: any number.
        """
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

    def compare_target(self, target: str | PathLike[str], trailer: Trailer) -> TargetState:
        """What an existing target says of itself, compared with a merge that would end with ``trailer``."""
        ...

    def finish(self, target: str | PathLike[str], trailer: Trailer, options: MergeOptions) -> None:
        """Publish what an unfinished target, whose ranges are known to be the right ones, lacks.

        Raises:
            TargetExistsError: it is finished by now.
        """
        ...

    def publish(self, pending: PendingFile, trailer: Trailer, options: MergeOptions) -> None:
        """Make a complete target appear, with what belongs to it.

        Raises:
            TargetExistsError: it is there already, and overwriting was not asked for.
        """
        ...

    def files_of(self, target: str | PathLike[str]) -> tuple[str, ...]:
        """The files of a target that is there."""
        ...

    def delete(self, source: Source) -> None:
        """Remove a source, with what belongs to it."""
        ...
