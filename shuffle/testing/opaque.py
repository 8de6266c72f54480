"""Sources of opaque bytes for tests of copying alone: a plan, descriptors and a target, without headers or indexes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shuffle.machine.kernel import Kernel, SystemKernel
from shuffle.merging.copy.job import CopyJob, Target
from shuffle.merging.plan import MergePlan, plan_merge
from shuffle.merging.sources import Source, SourceDescriptors
from spill_format.layout import PartitionLayout
from spill_format.storage.identity import FileIdentity


class OpaqueSources:
    """Files of random bytes with given range lengths, and what copying them must give.

    ``lengths`` has a row for each source; what precedes its ranges in the file has ``first_offset`` bytes.
    """

    def __init__(self, directory: Path, lengths: Sequence[Sequence[int]], first_offset: int = 0) -> None:
        generator = np.random.default_rng(7)
        self.directory = directory
        self.layouts: list[PartitionLayout] = [
            PartitionLayout(np.cumsum([first_offset, *row], dtype=np.int64)) for row in lengths
        ]
        self.contents: list[bytes] = []
        self.sources: list[Source] = []
        for number, layout in enumerate(self.layouts):
            # No zeroes, which a hole would have too.
            content = generator.integers(1, 256, int(layout.offsets[-1]), np.uint8).tobytes()
            path = directory / f"source-{number}"
            path.write_bytes(content)
            self.contents.append(content)
            self.sources.append(opaque_source(path, layout))
        self.plan: MergePlan = plan_merge(self.layouts, first_offset)

    @property
    def merged(self) -> bytes:
        """The target's bytes from its first range on."""
        parts: list[bytes] = []
        for partition in range(self.plan.partition_count):
            for content, layout in zip(self.contents, self.layouts, strict=True):
                start, stop = layout.offsets[partition : partition + 2].tolist()
                parts.append(content[start:stop])
        return b"".join(parts)

    @contextmanager
    def job(self, kernel: Kernel | None = None, *, open_limit: int = 100) -> Iterator[CopyJob]:
        """A job with a new target, ``target`` in the directory; the limit is on open sources."""
        path = self.directory / "target"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with SourceDescriptors(self.sources, open_limit) as descriptors:
                yield CopyJob(kernel or SystemKernel(), self.plan, descriptors, Target(descriptor, str(path)))
        finally:
            os.close(descriptor)

    def written(self) -> bytes:
        """The target's bytes from its first range on, as they are there."""
        return (self.directory / "target").read_bytes()[self.plan.start :]


def opaque_source(path: Path, layout: PartitionLayout) -> Source:
    """A source whose ranges have that layout, whatever the file holds."""
    status = path.stat()
    return Source(str(path), layout, FileIdentity.of(status))
