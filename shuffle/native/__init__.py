"""The functions of ``shuffle.arrays.gather``, compiled where a compiler was there when the project was installed.

``SHUFFLE_NATIVE=off`` in the environment chooses those in numpy. What is written is the same.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

SWITCH = "SHUFFLE_NATIVE"
_COMPILED = "shuffle.native._gather"


def gather_functions() -> ModuleType:
    """The module with the functions to use.

    Raises:
        ValueError: the switch is neither ``on``, which is as if it were not set, nor ``off``.
    """
    from shuffle.arrays import gather  # and with it Arrow, which who asks nothing need not load

    switch = os.environ.get(SWITCH, "on")
    if switch not in ("on", "off"):
        raise ValueError(f"{SWITCH} must be on or off, not {switch!r}")
    if switch == "off":
        return gather
    try:
        return import_module(_COMPILED)
    except ImportError:
        return gather


def is_native() -> bool:
    """Whether the compiled functions are used."""
    return gather_functions().__name__ == _COMPILED
