"""Looking at the file systems that a merge reads from and writes to, for ``copy/choice.py`` to decide."""

from __future__ import annotations

from collections.abc import Sequence

from shuffle.machine.file_systems import dirty_bytes, file_system_of
from shuffle.merging.copy.choice import Surroundings
from shuffle.merging.copy.experience import Experience
from shuffle.merging.sources import Source, SourceDescriptors

_LOOKED_AT = 64  # sources; those of one merge are written alike
_DIRTY_PART = 0.05  # of the bytes looked at; cloning waits until these are written back


def look_around(sources: Sequence[Source], target: int, experience: Experience) -> Surroundings:
    """What is around a merge of ``sources`` into an open file."""
    system = file_system_of(target)
    devices = {source.identity.device for source in sources if source.layout.byte_count}
    refused = experience.refused(devices, system.device)
    if devices != {system.device}:
        return Surroundings(block_bytes=system.block_bytes, refused=refused)
    return Surroundings(
        shares_blocks=system.shares_blocks,
        block_bytes=system.block_bytes,
        server_copies=system.remote,
        sources_dirty=system.shares_blocks and _are_dirty(sources[:: max(len(sources) // _LOOKED_AT, 1)]),
        refused=refused,
    )


def _are_dirty(sources: Sequence[Source]) -> bool:
    dirty = 0
    with SourceDescriptors(sources, 1) as descriptors:  # one at a time, since few may be allowed
        for number in range(len(sources)):
            known = dirty_bytes([descriptors.descriptor(number)])
            if known is None:
                return True  # gathering, which is chosen then, is never far behind
            dirty += known
    return dirty > _DIRTY_PART * sum(source.identity.byte_count for source in sources)
