"""A shuffle for Arrow data: partition, spill, merge, read.

Names are imported when they are first used: a merge, which decodes nothing, does not wait for pyarrow; and pytest,
which imports the package of every plugin that is installed, waits for nothing at all.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuffle.config import MapOptions, MergeOptions
    from shuffle.job import run
    from shuffle.map_writer import MapWriter
    from shuffle.merge import merge
    from shuffle.partitioners import CallablePartitioner, HashPartitioner, RangePartitioner, RoundRobinPartitioner
    from shuffle.report import MapReport, MergeReport
    from shuffle.warning import ShuffleWarning

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
    "run",
]

_LAZY = {
    "CallablePartitioner": "shuffle.partitioners",
    "HashPartitioner": "shuffle.partitioners",
    "MapOptions": "shuffle.config",
    "MapReport": "shuffle.report",
    "MapWriter": "shuffle.map_writer",
    "MergeOptions": "shuffle.config",
    "MergeReport": "shuffle.report",
    "RangePartitioner": "shuffle.partitioners",
    "RoundRobinPartitioner": "shuffle.partitioners",
    "ShuffleWarning": "shuffle.warning",
    "run": "shuffle.job",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


class _Package(ModuleType):
    """The type of this module, for the sake of one name that a function and a submodule share."""

    @property
    def merge(self) -> Any:
        return importlib.import_module("shuffle.merge").merge

    @merge.setter
    def merge(self, submodule: object) -> None:
        """What importing the submodule assigns; the name stays the function's."""


sys.modules[__name__].__class__ = _Package
