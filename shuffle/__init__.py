"""A shuffle for Arrow data: partition, spill, merge, read.

Names are imported when they are first used: a merge, which decodes nothing, does not wait for pyarrow; and pytest,
which imports the package of every plugin that is installed, waits for nothing at all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuffle.client import PartitionClient, fetch
    from shuffle.http_options import FetchOptions, ServeOptions
    from shuffle.inspecting.comparison import diff
    from shuffle.inspecting.doctor import doctor
    from shuffle.inspecting.inspection import inspect
    from shuffle.inspecting.repair import repair
    from shuffle.inspecting.verification import verify
    from shuffle.jobs.exchanges import Exchange
    from shuffle.jobs.job import JoinSide, run, run_join
    from shuffle.jobs.options import JobOptions
    from shuffle.jobs.report import JobReport
    from shuffle.mapping.map_writer import MapWriter
    from shuffle.mapping.partition_files import partition_files
    from shuffle.merging.merge import merge
    from shuffle.merging.sources import BadSourcesError
    from shuffle.options import MapOptions, MergeOptions
    from shuffle.partitioners import CallablePartitioner, HashPartitioner, RangePartitioner, RoundRobinPartitioner
    from shuffle.reduce import co_partitioned, read_partition
    from shuffle.report import MapReport, MergeReport
    from shuffle.rows.csv_options import CsvOptions
    from shuffle.rows.errors import InputError
    from shuffle.rows.placement import SortKey
    from shuffle.serve.server import PartitionServer
    from shuffle.warning import ShuffleWarning

__all__ = [
    "BadSourcesError",
    "CallablePartitioner",
    "CsvOptions",
    "Exchange",
    "FetchOptions",
    "HashPartitioner",
    "InputError",
    "JobOptions",
    "JobReport",
    "JoinSide",
    "MapOptions",
    "MapReport",
    "MapWriter",
    "MergeOptions",
    "MergeReport",
    "PartitionClient",
    "PartitionServer",
    "RangePartitioner",
    "RoundRobinPartitioner",
    "ServeOptions",
    "ShuffleWarning",
    "SortKey",
    "co_partitioned",
    "diff",
    "doctor",
    "fetch",
    "inspect",
    "merge",
    "partition_files",
    "read_partition",
    "repair",
    "run",
    "run_join",
    "verify",
]

_MODULES = {
    "client": ["PartitionClient", "fetch"],
    "http_options": ["FetchOptions", "ServeOptions"],
    "inspecting.comparison": ["diff"],
    "inspecting.doctor": ["doctor"],
    "inspecting.inspection": ["inspect"],
    "inspecting.repair": ["repair"],
    "inspecting.verification": ["verify"],
    "jobs.exchanges": ["Exchange"],
    "jobs.job": ["JoinSide", "run", "run_join"],
    "jobs.options": ["JobOptions"],
    "jobs.report": ["JobReport"],
    "mapping.map_writer": ["MapWriter"],
    "mapping.partition_files": ["partition_files"],
    "merging.merge": ["merge"],
    "merging.sources": ["BadSourcesError"],
    "options": ["MapOptions", "MergeOptions"],
    "partitioners": ["CallablePartitioner", "HashPartitioner", "RangePartitioner", "RoundRobinPartitioner"],
    "reduce": ["co_partitioned", "read_partition"],
    "report": ["MapReport", "MergeReport"],
    "rows.csv_options": ["CsvOptions"],
    "rows.errors": ["InputError"],
    "rows.placement": ["SortKey"],
    "serve.server": ["PartitionServer"],
    "warning": ["ShuffleWarning"],
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("shuffle-merge")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"shuffle.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
