"""The kinds of files that can be merged. What differs between them is here; planning and copying do not differ.

A format finds its files and reads their layouts, makes what surrounds the ranges in the target, and publishes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from shuffle.merging.formats.arrow import ARROW
from shuffle.merging.formats.protocol import MergeFormat, Trailer
from shuffle.merging.formats.spark import SPARK, SparkFormat
from spill_format.spark.discovery import is_plainly_sparks
from spill_format.spark.outputs import DATA_SUFFIX
from spill_format.spill_set import SPILL_PATTERN

__all__ = [
    "ARROW",
    "SPARK",
    "FormatName",
    "MergeFormat",
    "SparkFormat",
    "Trailer",
    "guess_format",
    "looks_like_sparks",
    "resolve_format",
]

FormatName = Literal["auto", "arrow", "spark"]


def resolve_format(choice: FormatName | MergeFormat, paths: Sequence[str]) -> MergeFormat:
    """The format chosen, or for ``auto`` the one that the sources plainly have.

    Raises:
        ValueError: no such name; or see ``guess_format``.
    """
    if not isinstance(choice, str):
        return choice
    if choice == "auto":
        return guess_format(paths)
    if choice not in {"arrow", "spark"}:
        raise ValueError(f"the format must be auto, arrow or spark, not {choice!r}")
    return SPARK if choice == "spark" else ARROW


def guess_format(paths: Sequence[str]) -> MergeFormat:
    """The format that sources plainly have: Spark's if all are ``.data`` files, or directories that hold Spark's
    shuffle files and no spills; Arrow if none is.

    Raises:
        ValueError: some are and some are not.
        OSError: a directory cannot be listed.
    """
    are_spark = [looks_like_sparks(path) for path in paths]
    if any(are_spark) and not all(are_spark):
        spark, other = paths[are_spark.index(True)], paths[are_spark.index(False)]
        raise ValueError(f"Spark's files and Arrow files cannot be merged: {spark} and {other}")
    return SPARK if any(are_spark) else ARROW


def looks_like_sparks(path: str) -> bool:
    """Whether a path is plainly that of Spark's files; OSError where a directory cannot be listed."""
    if not os.path.isdir(path):
        return path.endswith(DATA_SUFFIX)
    return is_plainly_sparks(path) and not any(name.endswith(SPILL_PATTERN) for name in os.listdir(path))
