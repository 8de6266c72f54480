"""What ``shuffle inspect`` and ``shuffle verify`` say about merged partitions of Spark's push-based shuffle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, say_error
from shuffle.inspecting.push_inspection import PushedChunk, PushedInspection, PushedShuffle, by_shuffle, inspect_pushed
from shuffle.wording import aligned, as_ranges, counted, sized
from spill_format.errors import SpillError
from spill_format.spark.pushed_scan import PushedPaths

Verdict = dict[str, Any]


def inspect_all(found: Sequence[PushedPaths]) -> tuple[list[PushedInspection], list[Verdict], int]:
    """What the files of merged partitions say, what could not be read, as JSON has it, and the exit code; what is wrong
    is also said on stderr."""
    inspections, problems, code = [], [], 0
    for paths in found:
        try:
            inspection = inspect_pushed(paths)
        except (SpillError, OSError, ModuleNotFoundError) as error:
            problems.append(_unreadable(paths, error))
            say_error(problems[-1]["problem"])
            code = EXIT_ERROR
            continue
        inspections.append(inspection)
        if inspection.scan.defects:
            say_error(f"damaged: {_damage(inspection)}")
            code = max(code, EXIT_DAMAGED)
    return inspections, problems, code


def as_dicts(inspections: Sequence[PushedInspection], order: str | None, top: int | None) -> list[Verdict]:
    """Merged partitions as JSON has them, each with its whole chunks."""
    return [
        {**_as_dict(each), "chunks": [chunk.as_dict() for chunk in _ordered(each.chunks, order)[:top]]}
        for each in inspections
    ]


def print_tables(inspections: Sequence[PushedInspection], order: str | None, top: int) -> None:
    """Tables for people: of one merged partition its chunks, of several what each has, and what each shuffle has."""
    click.echo(_table_of_partitions(inspections, order, top))
    if len(inspections) == 1:
        chunks = inspections[0].chunks
        if chunks and top:
            click.echo("\n" + _table_of_chunks(chunks, order, top))
        return
    click.echo("\n" + _table_of_shuffles(by_shuffle(inspections)))


def verdict_of(paths: PushedPaths) -> Verdict:
    """What is known of one merged partition, as JSON has it."""
    try:
        found = inspect_pushed(paths)
    except (SpillError, OSError, ModuleNotFoundError) as error:
        return _unreadable(paths, error)
    return _as_dict(found)


def soundness_of(verdict: Verdict) -> str:
    """What a sound merged partition has, in words."""
    chunks, maps = counted(verdict["chunk_count"], "chunk"), counted(verdict["map_count"], "map")
    return f"{chunks} of {maps}, no checksums to compare, {sized(verdict['byte_count'])}"


def _as_dict(found: PushedInspection) -> Verdict:
    return {**found.as_dict(), **({"problem": _damage(found)} if found.scan.defects else {})}


def _damage(found: PushedInspection) -> str:
    """What is damaged, in words: the chunks first, and whose blocks they have."""
    scan = found.scan
    first, *further = scan.defects
    damaged, maps = scan.damaged_chunks, scan.damaged_maps
    where = (
        f"{len(damaged):,} of {counted(scan.chunk_count, 'chunk')} ({as_ranges(damaged)})" if damaged else "no chunk"
    )
    whose = f" of {counted(len(maps), 'map')} ({as_ranges(maps)})" if maps else ""
    more = f"; {counted(len(further), 'further problem')} (--json tells all)" if further else ""
    return f"{where}{whose}; {first.error}{more}"


def _unreadable(paths: PushedPaths, error: Exception) -> Verdict:
    return {"path": paths.data, "format": "spark-push", "state": "unreadable", "problem": describe(error)}


def _ordered(chunks: Sequence[PushedChunk], order: str | None) -> list[PushedChunk]:
    return sorted(chunks, key=lambda chunk: -chunk.byte_count) if order == "size" else list(chunks)


def _table_of_partitions(inspections: Sequence[PushedInspection], order: str | None, top: int) -> str:
    by_size = order == "size" or (order is None and len(inspections) > top)
    ordered = sorted(inspections, key=lambda each: -each.byte_count) if by_size else inspections
    rows = [("merged partition", "bytes", "chunks", "largest", "maps", "codec")]
    for each in ordered[: max(top, 1)]:
        largest = max((chunk.byte_count for chunk in each.chunks), default=0)
        of = f" of {each.scan.chunk_count:,}" if each.scan.damaged_chunks else ""
        counts = f"{len(each.chunks):,}{of}", sized(largest), f"{len(each.maps):,}"
        rows.append((each.path, sized(each.byte_count), *counts, " and ".join(each.codecs) or "–"))
    return aligned(rows, left=(0, 5)) + _rest(len(ordered) - len(rows) + 1, "merged partition")


def _table_of_chunks(chunks: Sequence[PushedChunk], order: str | None, top: int) -> str:
    rows = [("chunk", "offset", "bytes", "maps", "which")]
    for chunk in _ordered(chunks, order)[:top]:
        place = str(chunk.number), f"{chunk.offset:,}", sized(chunk.byte_count)
        rows.append((*place, f"{len(chunk.maps):,}", as_ranges(chunk.maps)))
    return aligned(rows, left=(4,)) + _rest(len(chunks) - len(rows) + 1, "chunk")


def _table_of_shuffles(shuffles: Sequence[PushedShuffle]) -> str:
    rows: list[tuple[str, ...]] = [
        ("shuffle", "merge", "application", "partitions", "bytes", "chunks", "maps", "lacking some", "skew")
    ]
    for each in shuffles:
        of = each.as_dict()
        names = ("–" if value is None else str(value) for value in (each.shuffle, each.merge, each.application))
        counts = f"{of['file_count']:,}", sized(of["range_bytes"]), f"{of['chunk_count']:,}", f"{of['map_count']:,}"
        skew = "–" if of["skew"] is None else f"{of['skew']:.2f}"
        rows.append((*names, *counts, f"{of['incomplete_count']:,}", skew))
    return aligned(rows, left=(2,))


def _rest(count: int, noun: str) -> str:
    return f"\n… and {counted(count, f'further {noun}')} (--top N shows more)" if count > 0 else ""
