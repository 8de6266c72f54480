"""What ``shuffle repair`` does with merged partitions of Spark's push-based shuffle, and says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from shuffle.cli.options import Output
from shuffle.cli.terminal import EXIT_DAMAGED, progress_bar, say, say_warning
from shuffle.inspecting.push_repair import PushRepair, repair_pushed, repair_pushed_directory
from shuffle.wording import as_json_text, as_ranges, counted, sized

_LISTED_LOSSES = 20


def repair_and_tell(path: str, target: str, output: Output, *, overwrite: bool, durable: bool, as_json: bool) -> int:
    """Repair a merged partition, or all in a directory into another, which is made; the exit code.

    Raises:
        As ``repair_pushed`` does.
    """
    with progress_bar(None, "B", "repairing", shown=output.bar_shown) as progress:
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
            repairs = repair_pushed_directory(path, target, overwrite=overwrite, durable=durable, progress=progress)
        else:
            repairs = [repair_pushed(path, target, overwrite=overwrite, durable=durable, progress=progress)]
    if as_json:
        click.echo(as_json_text({"target": target, "files": [repair.as_dict() for repair in repairs]}))
    else:
        for line in _losses(repairs):
            say_warning(line)
    if not output.quiet:
        written = [repair for repair in repairs if repair.target is not None]
        chunks = counted(sum(repair.chunk_count for repair in written), "chunk")
        partitions = f" of {counted(len(written), 'merged partition')}" if os.path.isdir(path) else ""
        byte_count = sum(repair.byte_count for repair in written)
        say(f"{target}: recovered {chunks}{partitions}, {sized(byte_count)}")
    return 0 if all(repair.is_complete for repair in repairs) else EXIT_DAMAGED


def _losses(repairs: Sequence[PushRepair]) -> list[str]:
    """A line for each partition that lost something, as far as they are not too many."""
    lossy = [repair for repair in repairs if not repair.is_complete]
    lines = [_loss(repair) for repair in lossy[:_LISTED_LOSSES]]
    if further := len(lossy) - len(lines):
        lines.append(f"{counted(further, 'further merged partition')} lost chunks (--json lists all)")
    return lines


def _loss(repair: PushRepair) -> str:
    chunks = f"lost {counted(len(repair.lost_chunks), 'chunk')} ({as_ranges(repair.lost_chunks)})"
    maps = f" of {counted(len(repair.lost_maps), 'map')} ({as_ranges(repair.lost_maps)})" if repair.lost_maps else ""
    whole = "no chunk is whole" if repair.target is None else chunks
    return f"{repair.path}: {whole}{maps}; {repair.problems[0]}"
