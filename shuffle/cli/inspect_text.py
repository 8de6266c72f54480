"""What ``shuffle inspect`` prints for people and for spreadsheets: facts, a line of bars, tables, advice."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shuffle.cli.advice import advise
from shuffle.cli.terminal import coloured, escaped
from shuffle.inspecting.inspection import Inspection
from shuffle.inspecting.results import Inspected
from shuffle.inspecting.sizes import Order, PartitionSizes, peaks
from shuffle.merging.copy.choice import CLONED_BYTES
from shuffle.wording import aligned, as_ranges, counted, sized, sparkline

_SPARKLINE_COLUMNS = 64


def _number(value: float) -> str:
    return f"{value:,}"


def _joined(values: Sequence[str]) -> str:
    return " and ".join(values) or "–"


_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "path": ("file", escaped),
    "shuffle": ("shuffle", str),
    "merge": ("merge", str),
    "application": ("application", escaped),
    "partition": ("partition", str),
    "chunk": ("chunk", str),
    "offset": ("offset", _number),
    "output_count": ("outputs", _number),
    "file_count": ("partitions", _number),
    "row_count": ("rows", _number),
    "byte_count": ("bytes", sized),
    "range_bytes": ("bytes", sized),
    "share": ("share", "{:.2%}".format),
    "partition_count": ("partitions", _number),
    "empty_partition_count": ("empty", _number),
    "largest_bytes": ("largest", sized),
    "batch_count": ("batches", _number),
    "chunk_count": ("chunks", _number),
    "map_count": ("maps", _number),
    "incomplete_count": ("lacking maps", _number),
    "skew": ("skew", "{:.2f}".format),
    "alignment": ("alignment", str),
    "cloneable_bytes": ("cloneable", sized),
    "checksums": ("checksums", str),
    "codecs": ("codec", _joined),
    "maps": ("which", as_ranges),
}
"""The heading and the form of what tables show, by its name in JSON."""
_OF_FILES = (
    *("path", "row_count", "byte_count", "partition_count", "empty_partition_count", "batch_count", "chunk_count"),
    *("map_count", "skew", "alignment", "cloneable_bytes", "checksums", "codecs"),
)
_OF_SHUFFLES = (
    *("shuffle", "merge", "application", "output_count", "file_count", "range_bytes", "partition_count"),
    *("empty_partition_count", "largest_bytes", "chunk_count", "map_count", "incomplete_count", "skew"),
)
_OF_PARTS = ("partition", "chunk", "offset", "row_count", "byte_count", "share", "batch_count", "map_count", "maps")
_FLUSH_LEFT = {"path", "application", "checksums", "codecs", "maps"}


def as_text(inspection: Inspection, order: Order | None, top: int) -> str:
    """Return facts, bars, tables and advice, kind by kind.

    Args:
        inspection: of one file or more.
        order: of the partitions; None: by number if all of them are shown, else by size.
        top: how many partitions and files are shown; 0 leaves out their tables.
    """
    kinds: dict[str, list[Inspected]] = {}
    for file in inspection.files:
        kinds.setdefault(file.format, []).append(file)
    sections = [_section(Inspection(tuple(files), ()), order, top) for files in kinds.values()]
    return "\n\n".join(part for section in sections for part in section)


def as_csv(inspection: Inspection, order: Order | None, top: int | None) -> str:
    """Return a line for each partition of each file, or for each chunk of a pushed partition, under a line of names."""
    lines = [
        {"path": escaped(file.path), **part}
        for file in inspection.files
        for parts in file.listed(order, top).values()
        for part in parts
    ]
    names = list(dict.fromkeys(name for line in lines for name in line)) or ["path", "partition", "byte_count"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def facts_of(inspection: Inspection, sizes: PartitionSizes) -> list[tuple[str, str]]:
    """Return names and values of what is to be said of one file, or of several together."""
    if len(inspection.files) > 1:
        return _facts(sizes)
    of = inspection.files[0].as_dict()
    found = [("size", sized(of["byte_count"])), *_facts(sizes)]
    if "alignment" in of:
        found.append(("alignment", _alignment(of)))
    if "partitioner" in of:
        found.append(("partitioner", of["partitioner"] or "– (the file does not say)"))
    if "checksums" in of:
        found.append(("checksums", of["checksums"] or "–"))
    return [*found, ("codec", _joined(of["codecs"]))]


def _section(inspection: Inspection, order: Order | None, top: int) -> list[str]:
    """What is said of files of one kind."""
    files, together, shuffles = inspection.files, inspection.together, inspection.shuffles
    parts = []
    if len(files) > 1 or together is None:
        by_size = order == "size" or (order is None and together is None and len(files) > top)
        shown = sorted(files, key=lambda file: -file.as_dict()["byte_count"]) if by_size else files
        parts.append(_table(_OF_FILES, [file.as_dict() for file in shown[: max(top, 1)]], len(files), "file"))
    if len(shuffles) > 1 or (shuffles and together is None):
        parts.append(_table(_OF_SHUFFLES, shuffles, len(shuffles), "shuffle"))
    if together is not None:
        title = escaped(files[0].path) if len(files) == 1 else f"{counted(len(files), 'file')} together"
        parts.append(f"{title}\n{aligned(facts_of(inspection, together), left=(0, 1))}")
    elif not shuffles and len({file.sizes.partition_count for file in files if file.sizes is not None}) > 1:
        parts.append("The files have different numbers of partitions; each can be inspected by itself.")
    if together is not None and together.partition_count > 1:
        parts.append(_bars(together))
    parts += [coloured(sentence, "yellow") for sentence in advise(files, together)]
    if top and together is not None:
        parts.append(_table_of_partitions(together, order, top))
    elif top and len(files) == 1:
        for noun, chunks in files[0].listed(order, None).items():
            parts.append(_table(_OF_PARTS, chunks[:top], len(chunks), noun.removesuffix("s")))
    return parts


def _facts(sizes: PartitionSizes) -> list[tuple[str, str]]:
    spread = f"{sized(sizes.smallest_bytes)}, {sized(sizes.median_bytes)}, {sized(sizes.largest_bytes)}"
    empty = f" ({as_ranges(sizes.empty_partitions.tolist(), 4)})" if sizes.empty_count else ""
    gini = "" if sizes.gini is None else f"; Gini {sizes.gini:.2f}"
    skew = "– (most partitions are empty)" if sizes.skew is None else f"{sizes.skew:.2f} (largest over median)"
    found = [
        ("bytes", sized(sizes.byte_count)),
        ("partitions", f"{sizes.partition_count:,}, of which {sizes.empty_count:,} empty{empty}"),
        ("bytes each", f"{spread} (smallest, median, largest)"),
        ("skew", skew + gini),
    ]
    if sizes.batch_counts is not None:
        ascending = sorted(sizes.batch_counts.tolist())
        batches = ", ".join(f"{ascending[place]:,}" for place in (0, len(ascending) // 2, -1))
        found[0] = ("rows", f"{sizes.row_count:,} in {counted(sizes.batch_count or 0, 'batch')}")
        found.insert(3, ("batches each", f"{batches} (fewest, median, most)"))
    return found


def _alignment(of: Mapping[str, Any]) -> str:
    """How ranges are aligned, and what of the file a merge would clone."""
    alignment = counted(of["alignment"], "byte")
    if of["alignment"] % of["block_bytes"]:
        return f"{alignment}; nothing can be cloned, which takes multiples of {of['block_bytes']:,}"
    if not of["cloneable_bytes"]:
        return f"{alignment}; nothing is worth cloning, which takes ranges of {sized(CLONED_BYTES)}"
    share = f"{of['cloneable_bytes'] / of['range_bytes']:.0%} ({sized(of['cloneable_bytes'])})"
    if of["shares_blocks"]:
        return f"{alignment}; a merge within this {of['file_system']} can clone {share}"
    return f"{alignment}; a file system that shares blocks could clone {share}, {of['file_system']} does not"


def _bars(sizes: PartitionSizes) -> str:
    shown = peaks(sizes.byte_counts, _SPARKLINE_COLUMNS)
    last = sizes.partition_count - 1
    scale = f"0{str(last).rjust(len(shown) - 1)}" if len(shown) > len(str(last)) else f"0 to {last}"
    each = "" if len(shown) == sizes.partition_count else ", the largest of neighbours"
    return (
        f"bytes by partition{each}; a full bar is {sized(sizes.largest_bytes)}\n|{sparkline(shown.tolist())}|\n {scale}"
    )


def _table_of_partitions(sizes: PartitionSizes, order: Order | None, top: int) -> str:
    order = order or ("partition" if sizes.partition_count <= top else "size")
    shown = sizes.listed(order, top)
    total = max(sizes.byte_count, 1)
    rows = [{**partition, "share": partition["byte_count"] / total} for partition in shown]
    skewed = set(sizes.skewed_partitions.tolist())
    marked = [number for number, row in enumerate(rows) if row["partition"] in skewed]
    hidden = sizes.byte_count - sum(partition["byte_count"] for partition in shown)
    return _table(_OF_PARTS, rows, sizes.partition_count, "partition", f", together {sized(hidden)}", marked)


def _table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    count: int,
    noun: str,
    of_hidden: str = "",
    marked: Sequence[int] = (),
) -> str:
    """Those of the columns that any row has, and a line about the rows that are not shown.

    Args:
        columns: names as JSON has them.
        rows: as JSON has them.
        count: how many rows there are, shown or not.
        noun: what a row is.
        of_hidden: what else is said of the rows that are not shown.
        marked: numbers of rows in another colour.
    """
    present = [name for name in columns if any(name in row for row in rows)]
    cells = [tuple(_COLUMNS[name][0] for name in present)]
    cells += [tuple("–" if row.get(name) is None else _COLUMNS[name][1](row[name]) for name in present) for row in rows]
    heading, *lines = aligned(cells, [n for n, name in enumerate(present) if name in _FLUSH_LEFT]).splitlines()
    lines = [coloured(line, "yellow") if number in marked else line for number, line in enumerate(lines)]
    hidden = count - len(rows)
    rest = [f"… and {counted(hidden, f'further {noun}')}{of_hidden} (--top N shows more)"] if hidden else []
    return "\n".join([heading, *lines, *rest])
