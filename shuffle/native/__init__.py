"""What is compiled where there is a compiler: the functions of ``shuffle.arrays.gather``, and the reading of many runs
of files at once, which ``Kernel.pread_runs`` describes.

``SHUFFLE_NATIVE=off`` in the environment chooses those in Python. What is written is the same.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Literal

SWITCH = "SHUFFLE_NATIVE"


def compiled(name: Literal["gather", "reading"]) -> ModuleType | None:
    """The compiled module to use; None where there was no compiler, or where it is switched off.

    Raises:
        ValueError: the switch is neither ``on``, which is as if it were not set, nor ``off``.
    """
    switch = os.environ.get(SWITCH, "on")
    if switch not in ("on", "off"):
        raise ValueError(f"{SWITCH} must be on or off, not {switch!r}")
    if switch == "off":
        return None
    try:
        return import_module(f"shuffle.native._{name}")
    except ImportError:
        return None


def is_native() -> bool:
    """Whether map tasks use compiled functions."""
    return compiled("gather") is not None
