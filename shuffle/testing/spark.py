"""Map outputs in Spark's layout, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

import numpy as np

from spill_format.layout import PartitionLayout
from spill_format.range_checksums import ALGORITHMS, RangeChecksums
from spill_format.spark.outputs import index_path_of
from spill_format.spark.publication import publish_output
from spill_format.storage.publication import open_pending


def write_output(
    data_path: str | PathLike[str],
    ranges: Iterable[bytes],
    *,
    algorithm: str | None = "ADLER32",
    overwrite: bool = False,
    durable: bool = False,
) -> PartitionLayout:
    """Write an output as Spark's map tasks do.

    Args:
        data_path: its name ends with ``.data``.
        ranges: the bytes of each partition, in order; one or more.
        algorithm: of the checksums: one of ``ALGORITHMS``, or None for no file of them.
        overwrite, durable: see ``publish_output``.

    Returns:
        Where the ranges are; rows are not known.

    Raises:
        ValueError: there are no partitions, the name does not end with ``.data``, or there is no such algorithm.
        TargetExistsError, OSError: see ``publish_output``.
    """
    index_path_of(data_path)  # before anything is opened
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise ValueError(f"checksums are of {', '.join(ALGORITHMS)} or None, not of {algorithm!r}")
    recipe = None if algorithm is None else ALGORITHMS[algorithm]
    ends, values = [0], []
    with open_pending(data_path, overwrite=overwrite, durable=durable) as pending:
        with pending.stream() as file:
            for content in ranges:
                file.write(content)
                ends.append(ends[-1] + len(content))
                if recipe is not None:
                    values.append(recipe.update(content, recipe.of_nothing))
        if len(ends) == 1:
            raise ValueError("an output has one partition or more, but there are no ranges")
        checksums = None if recipe is None else RangeChecksums(recipe, np.array(values, dtype=np.uint32))
        offsets = np.array(ends, dtype=np.int64)
        publish_output(pending, offsets, checksums, overwrite=overwrite, durable=durable)
    return PartitionLayout(offsets)
