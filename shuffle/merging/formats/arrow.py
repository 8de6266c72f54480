"""Arrow files with a partition index: the format of this project, specified in ``spill_format/FORMAT.md``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike

from shuffle.merging.arrow_target import target_header, target_index
from shuffle.merging.formats.protocol import TargetState, Trailer
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import Source, SourceSearch, find_sources, raise_bad
from shuffle.options import MergeOptions
from spill_format.errors import MismatchError, naming
from spill_format.partitioner import check_partitioners
from spill_format.range_checksums import CRC32C, RangeChecksums
from spill_format.spill_set import find_missing
from spill_format.storage.identity import FileIdentity
from spill_format.storage.local import LOCAL
from spill_format.storage.publication import PendingFile
from spill_format.structure import FileStructure, read_structure
from spill_format.trailer import TrailerContent


class ArrowFormat:
    """See ``MergeFormat``."""

    def open_sources(self, paths: Sequence[str | PathLike[str]], search: SourceSearch) -> list[Source]:
        """See ``MergeFormat``. A directory stands for the spills in it."""
        return search.open_all(find_sources(paths, search), self.open_source)

    def open_source(self, path: str | PathLike[str]) -> Source:
        """One of them."""
        with LOCAL.open(path) as file, naming(path):
            structure = read_structure(file.descriptor, file.path)
            return Source(file.path, structure.index.layout, file.identity, structure)

    def check_agreement(
        self, sources: Sequence[Source], *, mix_partitioners: bool = False, missing_spills: int | None = 0
    ) -> None:
        """Raise MismatchError where schemas or known partitioners differ, or spills of a map task are missing."""
        first, *others = _structures(sources)
        raise_bad(
            [
                MismatchError(f"another schema than {first.path}: {difference}", path=structure.path)
                for structure in others
                if structure.schema_message != first.schema_message
                and (difference := _schema_difference(first, structure)) is not None
            ]
        )
        missing = find_missing((each.path, each.spill_set) for each in _structures(sources))
        if missing_spills is not None and sum(each.total - len(each.paths) for each in missing) > missing_spills:
            raise_bad([each.error() for each in missing])
        if not mix_partitioners:
            check_partitioners((structure.path, structure.index.partitioner) for structure in _structures(sources))

    def header(self, sources: Sequence[Source]) -> bytes:
        """Magic and schema message."""
        return target_header(_structures(sources))

    def trailer(self, sources: Sequence[Source], plan: MergePlan) -> Trailer:
        """End-of-stream marker, index section and Arrow footer."""
        index = target_index(_structures(sources), plan)
        assert index.layout.crc32c is not None  # an index always has them
        return Trailer(TrailerContent(index), index.layout, RangeChecksums(CRC32C, index.layout.crc32c))

    def check_target(self, target: str | PathLike[str]) -> None:
        """Any name will do."""

    def compare_target(self, target: str | PathLike[str], trailer: Trailer) -> TargetState:  # noqa: ARG002 -- see MergeFormat
        """Never the same: an existing file is an error, as for any command that makes one."""
        return "none"

    def finish(self, target: str | PathLike[str], trailer: Trailer, options: MergeOptions) -> None:
        """Never needed: the file is complete in itself."""

    def publish(self, pending: PendingFile, trailer: Trailer, options: MergeOptions) -> None:  # noqa: ARG002 -- see MergeFormat
        """The file is complete in itself."""
        pending.publish()

    def files_of(self, target: str | PathLike[str]) -> tuple[str, ...]:
        """The target alone."""
        return (os.fspath(target),)

    def delete(self, source: Source) -> None:
        """See ``MergeFormat``."""
        os.unlink(source.path)


ARROW = ArrowFormat()


def borrow_source(descriptor: int, name: str) -> Source:
    """A source that has no name but is open; the descriptor must stay open until the merge is done."""
    with naming(name):
        identity = FileIdentity.of(os.fstat(descriptor))
        structure = read_structure(descriptor, name)
    return Source(name, structure.index.layout, identity, structure, descriptor)


def _structures(sources: Sequence[Source]) -> list[FileStructure]:
    return [source.structure for source in sources if source.structure is not None]


def _schema_difference(first: FileStructure, second: FileStructure) -> str | None:
    # Only where the messages differ, as they do for another alignment or another version of Arrow, is it worth the
    # import to see whether they mean the same.
    import pyarrow as pa

    from spill_format.schemas import describe_difference, original_schema

    stored = [pa.ipc.read_schema(pa.py_buffer(structure.schema_message)) for structure in (first, second)]
    return describe_difference(*stored) or describe_difference(*map(original_schema, stored))
