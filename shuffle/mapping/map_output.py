"""What a map task publishes: a target, its spills on the way there, or both; or its spills alone.

What is written, and when, is decided by ``map_writer.py``; where spills lie by ``spill_store.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shuffle.mapping.alignment import choose_alignment, shared_block_bytes
from shuffle.mapping.spill_store import SpillStore, Written, spill_directories
from shuffle.options import MapOptions
from shuffle.report import MergeReport
from spill_format.errors import naming
from spill_format.layout import PartitionLayout
from spill_format.storage.publication import PendingFile, open_pending


class MapOutput:
    """The files of one map task.

    Args:
        path: the target's name, after which spills are named, too.
        options: of the map task.
        partition_count: P.

    Raises:
        TargetExistsError: the target is there, or a spill that would be kept, and ``overwrite`` is off.
        OSError: target or spill directory cannot be written.
    """

    def __init__(self, path: Path, options: MapOptions, partition_count: int) -> None:
        self.layout: PartitionLayout | None = None
        """Of the target, once it is published."""
        self.byte_count: int = 0
        """Of the target, once it is published."""
        self.merged: MergeReport | None = None
        """What merging the spills did; None where there was nothing to merge."""
        self._path = path
        self._options = options
        merge = options.merge
        self._target = (
            None if options.spills_only else open_pending(path, overwrite=merge.overwrite, durable=merge.durable)
        )
        try:
            self.spills: SpillStore = SpillStore(path, options, partition_count)
        except BaseException:
            if self._target is not None:
                self._target.discard()
            raise

    @property
    def is_spilled(self) -> bool:
        """Whether rows go through spills: some do already, or they are to be kept."""
        return self.spills.count > 0 or self._options.keep_spills or self._target is None

    def chosen_alignment(self, expected_bytes: int, partition_count: int) -> int:
        """The alignment of all files, given the bytes of the rows of the first one."""
        if self._options.alignment != "auto":
            return self._options.alignment
        directories = spill_directories(self._path, self._options)
        if self._target is not None:
            directories.insert(0, self._path.absolute().parent)
        return choose_alignment(expected_bytes, partition_count, shared_block_bytes(directories))

    def publish_rows(self, write: Callable[[PendingFile], Written]) -> None:
        """Publish the target, which ``write`` fills, where nothing is spilled."""
        assert self._target is not None
        with naming(self._path):
            byte_count, layout = write(self._target)
        if self._options.merge.verify:
            from shuffle.merging.verification import verify_written

            verify_written(self._target, layout)
        self._target.publish()
        self.byte_count, self.layout = byte_count, layout

    def publish_spills(self) -> None:
        """Publish the only spill, or all spills merged, as the target; and spills that are to be kept."""
        if self._target is None:
            self.spills.publish_kept()
        elif (layout := self.spills.publish_only_one()) is not None:
            self.byte_count, self.layout = self.spills.byte_count, layout
        else:
            merged, layout = self.spills.merge_into(self._target)
            if self._options.keep_spills:
                self.spills.publish_kept()
            self._target.publish()
            self.byte_count, self.layout, self.merged = merged.target_bytes, layout, merged

    def close(self) -> None:
        """Let go of all files that have no names: they vanish."""
        if self._target is not None:
            self._target.discard()
        self.spills.close()
