"""A shuffle for Arrow data: partition, spill, merge, read.

What needs pyarrow is imported when it is first used, so that a merge, which decodes nothing, does not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shuffle.config import MapOptions, MergeOptions

# Not lazily: the function must take this name after the module of the same name did.
from shuffle.merge import merge
from shuffle.report import MapReport, MergeReport
from shuffle.warning import ShuffleWarning

if TYPE_CHECKING:
    from shuffle.map_writer import MapWriter
    from shuffle.partitioners import CallablePartitioner, HashPartitioner, RangePartitioner, RoundRobinPartitioner

__all__ = [
    "CallablePartitioner",
    "HashPartitioner",
    "MapOptions",
    "MapReport",
    "MapWriter",
    "MergeOptions",
    "MergeReport",
    "RangePartitioner",
    "RoundRobinPartitioner",
    "ShuffleWarning",
    "merge",
]

_LAZY = {
    "CallablePartitioner": "shuffle.partitioners",
    "HashPartitioner": "shuffle.partitioners",
    "MapWriter": "shuffle.map_writer",
    "RangePartitioner": "shuffle.partitioners",
    "RoundRobinPartitioner": "shuffle.partitioners",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
