"""Advice that follows from partition sizes: sentences, each with its figure.

Only this module decides what to advise about small ranges, skew and alignment; it prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from shuffle.inspecting.arrow import ArrowInspection
from shuffle.inspecting.results import Inspected
from shuffle.inspecting.sizes import SKEW_FACTOR, PartitionSizes
from shuffle.merging.copy.choice import CLONED_BYTES
from shuffle.wording import counted, sized

SMALL_RANGE_BYTES = 64 << 10
"""Below it seeking, calling and decoding metadata cost more than the bytes: gathering moves so much in one call."""
GOOD_PARTITION_BYTES = 64 << 20  # a reduce task easily holds this much

_NAMED_PARTITIONS = 3
_NOTABLE_BYTES = 1 << 20  # a smaller file is fast in any shape


def advise(files: Sequence[Inspected], together: PartitionSizes | None) -> list[str]:
    """Return advice about files as sentences, most important first; empty if nothing is notable.

    Args:
        files: inspected files, at least one.
        together: partition sizes of all files together, or None if the files cannot be merged.
    """
    arrow = [file for file in files if isinstance(file, ArrowInspection)]
    if not arrow or len(arrow) < len(files):  # Spark itself gives advice about its files
        return []
    found = [_about_small_ranges(arrow), _about_alignment(arrow)]
    if together is not None:
        found = [_about_skew(together), *found, _about_emptiness(together)]
    return [sentence for sentence in found if sentence is not None]


def _about_skew(sizes: PartitionSizes) -> str | None:
    skewed = sizes.skewed_partitions
    if not len(skewed) or sizes.filled_median_bytes == 0 or sizes.byte_count < _NOTABLE_BYTES:
        return None
    named = ", ".join(map(str, skewed[:_NAMED_PARTITIONS].tolist())) + (
        ", …" if len(skewed) > _NAMED_PARTITIONS else ""
    )
    times = sizes.largest_bytes / sizes.filled_median_bytes
    share = sizes.byte_counts[skewed].sum() / sizes.byte_count
    return (
        f"skew: {counted(len(skewed), 'partition')} of {SKEW_FACTOR} times the median or more ({named}) "
        f"{'has' if len(skewed) == 1 else 'have'} {share:.0%} of the bytes, the largest {times:,.0f} times the median; "
        "partition by a further column, or look for a key that is null or a default"
    )


def _about_small_ranges(files: Sequence[ArrowInspection]) -> str | None:
    range_count = sum(file.sizes.partition_count - file.sizes.empty_count for file in files)
    byte_count = sum(file.sizes.byte_count for file in files)
    if range_count < 2 or byte_count < _NOTABLE_BYTES or byte_count / range_count >= SMALL_RANGE_BYTES:
        return None
    if len(files) > 1:
        cure = (
            "merge them before they are read, or give map tasks more memory (--memory), so that they spill less often"
        )
    else:
        partition_count = max(byte_count // GOOD_PARTITION_BYTES, 1)
        cure = f"for these bytes {counted(partition_count, 'partition')} would do; or merge this file with others"
    return (
        f"small ranges: {range_count:,} of {sized(byte_count / range_count)} on average, "
        f"and below {sized(SMALL_RANGE_BYTES)} calls and metadata cost more than the bytes; {cure}"
    )


def _about_alignment(files: Sequence[ArrowInspection]) -> str | None:
    block_bytes = files[0].file_system.block_bytes
    if not all(file.file_system.shares_blocks and file.alignment % block_bytes for file in files):
        return None
    worthwhile = sum(int(file.sizes.byte_counts[file.sizes.byte_counts >= CLONED_BYTES].sum()) for file in files)
    if worthwhile < max(sum(file.sizes.byte_count for file in files) // 2, _NOTABLE_BYTES):
        return None
    return (
        f"alignment: written with --alignment {block_bytes}, {sized(worthwhile)} could be cloned by a merge "
        f"instead of copied, since {files[0].file_system.name} shares blocks"
    )


def _about_emptiness(sizes: PartitionSizes) -> str | None:
    filled = sizes.partition_count - sizes.empty_count
    if filled == 0 or sizes.empty_count <= filled:
        return None
    return (
        f"empty partitions: {sizes.empty_count:,} of {sizes.partition_count:,}; "
        f"the key may have few values, and {filled:,} partitions hold all rows"
    )
