"""``shuffle.inspect``: what files say of themselves, one by one and together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shuffle.inspecting.checking import Progress
from shuffle.inspecting.kinds import KINDS, Kind, Paths, find
from shuffle.inspecting.results import PROBLEMS, Failure, FileResult, Inspected, State, worst
from shuffle.inspecting.sizes import Order, PartitionSizes, combined
from shuffle.wording import counted


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Metadata of files: sizes, codecs, alignment.

    Attributes:
        files: inspections of the files that were read, in order.
        failures: files that could not be read, in order, each with its error.
    """

    files: tuple[Inspected, ...]
    failures: tuple[Failure, ...]

    @property
    def state(self) -> State:
        """The worst state of all files."""
        return worst(result.state for result in self.results)

    @property
    def results(self) -> tuple[FileResult, ...]:
        """The results of all files, failures first."""
        return (*self.failures, *self.files)

    @property
    def together(self) -> PartitionSizes | None:
        """Sizes of the merge of all files; None where the files cannot be merged."""
        sizes = [file.sizes for file in self.files if file.sizes is not None]
        kinds = {file.format for file in self.files if file.sizes is not None}
        return combined(sizes) if len(kinds) == 1 else None

    @property
    def shuffles(self) -> list[dict[str, Any]]:
        """Summaries of Spark's shuffles, one for each shuffle."""
        return [summary for kind in KINDS for summary in kind.shuffles(self.files)]

    def as_dict(self, order: Order | None = None, top: int | None = None) -> dict[str, Any]:
        """The inspection as JSON has it, with the partitions of each file: all, or the first ``top`` in an order."""
        together = self.together
        return {
            "files": [{**file.as_dict(), **file.listed(order, top)} for file in self.files]
            + [failure.as_dict() for failure in self.failures],
            "shuffles": self.shuffles,
            "together": None if together is None else together.as_dict(),
        }

    def __str__(self) -> str:
        """The inspection in one line."""
        if len(self.results) == 1:
            return str(self.results[0])
        together = "" if self.together is None else f": {self.together}"
        failed = f"; {counted(len(self.failures), 'file')} not readable" if self.failures else ""
        return f"{counted(len(self.files), 'file')}{together}{failed}"


def inspect(paths: Paths, *, progress: Progress = lambda _count: None) -> Inspection:
    """Read and check the metadata of files, without rows: sizes, skew, codecs, alignment, partitioner.

    Args:
        paths: a file, a directory, or several. For Spark's files, any one of the files of an output.
        progress: called with 1 after each file.

    Returns:
        The inspection. A damaged or unreadable file raises nothing: the result lists it in ``failures``.

    Raises:
        ValueError: there are no paths, or a directory holds no file.
        OSError: a directory cannot be listed.
    """
    return inspect_found(find(paths), progress)


def inspect_found(found: Iterable[Kind], progress: Progress) -> Inspection:
    """Inspect files that ``find`` found. Result as for ``inspect``."""
    files: list[Inspected] = []
    failures: list[Failure] = []
    for file in found:
        try:
            files.append(file.inspect())
        except PROBLEMS as error:
            failures.append(Failure(file.path, error))
        progress(1)
    return Inspection(tuple(files), tuple(failures))
