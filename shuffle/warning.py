"""Warning the caller of this package; see ``spill_format/warning.py``."""

from __future__ import annotations

import spill_format.warning


class ShuffleWarning(spill_format.warning.SpillWarning):
    """Something went otherwise than it should, and the result is right all the same."""


def warn(problem: str) -> None:
    """Warn, pointing at the line that called into this package."""
    spill_format.warning.warn(problem, ShuffleWarning)
