"""Warning the caller: something went otherwise than it should, and the result is right all the same."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_PACKAGES = frozenset({"spill_format", "shuffle"})


class SpillWarning(UserWarning):
    """Something went otherwise than it should, and the result is right all the same."""


def warn(problem: str, category: type[Warning] = SpillWarning) -> None:
    """Warn, pointing at the line that called into these packages, however deep inside them this is."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
        frame = frame.f_back
        level += 1
    warnings.warn(problem, category, stacklevel=level)
