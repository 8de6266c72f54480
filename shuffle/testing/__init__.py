"""What the project tests itself with, for the tests of those who use it. Needs no test framework, but
for the conformance suites, which are classes of tests for pytest.

Names are imported when they are first used: pytest looks into this package for its plugin, in runs that use nothing
of it, too. ``shuffle.testing.strategies`` needs hypothesis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuffle.testing.assertions import (
        assert_layout,
        assert_partitioned_by,
        assert_rows_conserved,
        assert_same_rows,
    )
    from shuffle.testing.copy_checks import Check, conformance
    from shuffle.testing.engines import EngineConformance
    from shuffle.testing.file_systems import CannotMountError, loop_mounted, tmpfs_mounted
    from shuffle.testing.hosts import SimulatedHosts
    from shuffle.testing.partitioners import PartitionerConformance
    from shuffle.testing.scripted_kernel import (
        Always,
        Fail,
        Lie,
        Meanwhile,
        Real,
        ScriptedKernel,
        Short,
        Step,
        Zero,
        Zeroes,
    )
    from shuffle.testing.snapshots import layout_text
    from shuffle.testing.spark import write_output
    from shuffle.testing.spills import verify_spills, write_spill
    from shuffle.testing.storages import StorageConformance, WritableStorageConformance

_MODULES = {
    "assertions": ["assert_layout", "assert_partitioned_by", "assert_rows_conserved", "assert_same_rows"],
    "copy_checks": ["Check", "conformance"],
    "engines": ["EngineConformance"],
    "file_systems": ["CannotMountError", "loop_mounted", "tmpfs_mounted"],
    "partitioners": ["PartitionerConformance"],
    "hosts": ["SimulatedHosts"],
    "snapshots": ["layout_text"],
    "scripted_kernel": [
        "Always",
        "Fail",
        "Lie",
        "Meanwhile",
        "Real",
        "ScriptedKernel",
        "Short",
        "Step",
        "Zero",
        "Zeroes",
    ],
    "spark": ["write_output"],
    "spills": ["verify_spills", "write_spill"],
    "storages": ["StorageConformance", "WritableStorageConformance"],
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Always",
    "CannotMountError",
    "Check",
    "EngineConformance",
    "Fail",
    "Lie",
    "Meanwhile",
    "PartitionerConformance",
    "Real",
    "ScriptedKernel",
    "Short",
    "SimulatedHosts",
    "Step",
    "StorageConformance",
    "WritableStorageConformance",
    "Zero",
    "Zeroes",
    "assert_layout",
    "assert_partitioned_by",
    "assert_rows_conserved",
    "assert_same_rows",
    "conformance",
    "layout_text",
    "loop_mounted",
    "tmpfs_mounted",
    "verify_spills",
    "write_output",
    "write_spill",
]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return importlib.import_module("shuffle.testing.strategies")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"shuffle.testing.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
