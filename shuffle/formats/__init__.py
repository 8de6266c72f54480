"""The kinds of files that can be merged. What differs between them is here; planning and copying do not differ.

A format reads the layouts of its files, makes what surrounds the ranges in the target, and publishes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath

from shuffle.formats.arrow import ARROW
from shuffle.formats.protocol import MergeFormat, Trailer
from shuffle.formats.spark import SPARK
from spill_format.spark import DATA_SUFFIX

__all__ = ["ARROW", "SPARK", "MergeFormat", "Trailer", "format_of"]


def format_of(paths: Sequence[str | PathLike[str]]) -> MergeFormat:
    """The format that names stand for: Spark's if all end with ``.data``, Arrow if none does.

    Raises:
        ValueError: some do and some do not.
    """
    are_spark = [fspath(path).endswith(DATA_SUFFIX) for path in paths]
    if any(are_spark) and not all(are_spark):
        spark, other = paths[are_spark.index(True)], paths[are_spark.index(False)]
        raise ValueError(f"Spark's files and Arrow files cannot be merged: {fspath(spark)} and {fspath(other)}")
    return SPARK if any(are_spark) else ARROW
