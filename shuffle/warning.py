"""Warning the caller: something went otherwise than it should, and the result is right all the same."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


class ShuffleWarning(UserWarning):
    """Something went otherwise than it should, and the result is right all the same."""


def warn(problem: str) -> None:
    """Warn, pointing at the line that called into this package, however deep inside it this is."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "shuffle":
        frame = frame.f_back
        level += 1
    warnings.warn(problem, ShuffleWarning, stacklevel=level)
