"""What ``shuffle inspect`` prints for people and for spreadsheets: facts, a line of bars, tables, advice."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from shuffle.cli.advice import advise
from shuffle.cli.terminal import coloured
from shuffle.inspecting.inspection import FileInspection
from shuffle.inspecting.sizes import Order, PartitionSizes, combined, peaks
from shuffle.merging.copy.choice import CLONED_BYTES
from shuffle.wording import aligned, as_ranges, counted, sized, sparkline

_SPARKLINE_COLUMNS = 64


def as_text(files: Sequence[FileInspection], order: Order | None, top: int) -> str:
    """Facts, bars, tables and advice.

    Args:
        files: at least one.
        order: of the partitions; None: by number if all of them are shown, else by size.
        top: so many partitions and files are shown; 0 leaves out their tables.
    """
    together = combined([file.sizes for file in files])
    parts = []
    if len(files) > 1:
        parts.append(_table_of_files(files, top))
    if together is None:
        parts.append("The files have different numbers of partitions; each can be inspected by itself.")
    else:
        title = files[0].path if len(files) == 1 else f"{counted(len(files), 'file')} together"
        parts.append(f"{title}\n{aligned(facts_of(files, together), left=(0, 1))}")
    if together is not None and together.partition_count > 1:
        parts.append(_bars(together))
    parts += [coloured(sentence, "yellow") for sentence in advise(files, together)]
    if together is not None and top:
        parts.append(_table_of_partitions(together, order, top))
    return "\n\n".join(parts)


def as_csv(files: Sequence[FileInspection], order: Order, top: int | None) -> str:
    """A line for each partition of each file, under one of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "partition", "row_count", "byte_count", "batch_count"))
    for file in files:
        for partition in file.sizes.partitions_as_dicts(file.sizes.ordered(order)[:top]):
            writer.writerow((file.path, *partition.values()))
    return text.getvalue()


def facts_of(files: Sequence[FileInspection], together: PartitionSizes) -> list[tuple[str, str]]:
    """What is to be said of one file, or of several together: names and values."""
    if len(files) > 1:
        return _facts(together)
    (file,) = files
    return [
        ("size", sized(file.byte_count)),
        *_facts(file.sizes),
        ("alignment", _alignment(file)),
        ("codec", " and ".join(file.codecs) or "– (no batches)"),
    ]


def _facts(sizes: PartitionSizes) -> list[tuple[str, str]]:
    spread = f"{sized(sizes.smallest_bytes)}, {sized(sizes.median_bytes)}, {sized(sizes.largest_bytes)}"
    empty = f" ({as_ranges(sizes.empty_partitions.tolist(), 4)})" if sizes.empty_count else ""
    return [
        ("rows", f"{sizes.row_count:,} in {counted(sizes.batch_count, 'batch')}"),
        ("partitions", f"{sizes.partition_count:,}, of which {sizes.empty_count:,} empty{empty}"),
        ("bytes each", f"{spread} (smallest, median, largest)"),
        ("batches each", f"{_spread(sizes)} (fewest, median, most)"),
        ("skew", _skew(sizes)),
    ]


def _spread(sizes: PartitionSizes) -> str:
    ascending = sorted(sizes.batch_counts.tolist())
    return ", ".join(f"{ascending[place]:,}" for place in (0, len(ascending) // 2, -1))


def _skew(sizes: PartitionSizes) -> str:
    gini = "" if sizes.gini is None else f"; Gini {sizes.gini:.2f}"
    if sizes.skew is None:
        return f"– (most partitions are empty){gini}"
    return f"{sizes.skew:.2f} (largest over median){gini}"


def _alignment(file: FileInspection) -> str:
    """How ranges are aligned, and what of the file a merge would clone."""
    alignment = counted(file.alignment, "byte")
    block_bytes, name = file.file_system.block_bytes, file.file_system.name
    if file.alignment % block_bytes:
        return f"{alignment}; nothing can be cloned, which takes {block_bytes}"
    if not file.cloneable_bytes:
        return f"{alignment}; nothing is worth cloning, which takes ranges of {sized(CLONED_BYTES)}"
    share = f"{file.cloneable_bytes / file.sizes.byte_count:.0%} ({sized(file.cloneable_bytes)})"
    if file.file_system.shares_blocks:
        return f"{alignment}; a merge within this {name} can clone {share}"
    return f"{alignment}; a file system that shares blocks could clone {share}, {name} does not"


def _bars(sizes: PartitionSizes) -> str:
    shown = peaks(sizes.byte_counts, _SPARKLINE_COLUMNS)
    last = sizes.partition_count - 1
    scale = f"0{str(last).rjust(len(shown) - 1)}" if len(shown) > len(str(last)) else f"0 to {last}"
    each = "" if len(shown) == sizes.partition_count else ", the largest of neighbours"
    return (
        f"bytes by partition{each}; a full bar is {sized(sizes.largest_bytes)}\n|{sparkline(shown.tolist())}|\n {scale}"
    )


def _table_of_files(files: Sequence[FileInspection], top: int) -> str:
    rows = [("file", "rows", "bytes", "partitions", "empty", "batches", "skew", "alignment", "cloneable", "codec")]
    rows += [
        (
            file.path,
            f"{file.sizes.row_count:,}",
            sized(file.byte_count),
            f"{file.sizes.partition_count:,}",
            f"{file.sizes.empty_count:,}",
            f"{file.sizes.batch_count:,}",
            "–" if file.sizes.skew is None else f"{file.sizes.skew:.2f}",
            str(file.alignment),
            f"{file.cloneable_bytes / max(file.sizes.byte_count, 1):.0%}",
            "+".join(file.codecs) or "–",
        )
        for file in files[:top]
    ]
    return aligned(rows, left=(0, 9)) + _rest(len(files) - len(files[:top]), "file", "")


def _table_of_partitions(sizes: PartitionSizes, order: Order | None, top: int) -> str:
    order = order or ("partition" if sizes.partition_count <= top else "size")
    numbers = sizes.ordered(order)
    total = max(sizes.byte_count, 1)
    rows = [("partition", "rows", "bytes", "share", "batches")]
    rows += [
        (
            str(partition["partition"]),
            f"{partition['row_count']:,}",
            sized(partition["byte_count"]),
            f"{partition['byte_count'] / total:.2%}",
            f"{partition['batch_count']:,}",
        )
        for partition in sizes.partitions_as_dicts(numbers[:top])
    ]
    heading, *lines = aligned(rows).splitlines()
    skewed = set(sizes.skewed_partitions.tolist())
    table = [heading] + [
        coloured(line, "yellow") if number in skewed else line
        for number, line in zip(numbers[:top].tolist(), lines, strict=True)
    ]
    hidden = numbers[top:]
    together = f", together {sized(int(sizes.byte_counts[hidden].sum()))}"
    return "\n".join(table) + _rest(len(hidden), "partition", together)


def _rest(count: int, noun: str, together: str) -> str:
    """The line about what a table leaves out."""
    return f"\n… and {counted(count, f'further {noun}')}{together} (--top N shows more)" if count else ""
