"""What ``shuffle inspect`` and ``shuffle verify`` say about Spark's files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click
import numpy as np

from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say_error
from shuffle.cli.wording import aligned, as_json_text, as_ranges, counted, sized
from shuffle.inspecting.inspection import is_damage
from shuffle.inspecting.spark_inspection import (
    RangeSizes,
    SparkInspection,
    SparkVerification,
    combined_sizes,
    inspect_output,
    verify_output,
)
from shuffle.merging.formats import looks_like_sparks
from shuffle.merging.formats.spark import find_paths
from spill_format.errors import SpillError
from spill_format.layout import Int64Array
from spill_format.spark import OutputPaths
from spill_format.spark_discovery import find_outputs, parse_name

_DEFAULT_TOP = 20


def spark_outputs(paths: Sequence[str]) -> list[OutputPaths] | None:
    """The outputs meant by arguments that are plainly Spark's: ``.data`` files, and directories with shuffle files, of
    whatever shuffle; None where none of them is.

    Raises:
        ClickException: only some of them are.
        SpillError, OSError: see ``find_outputs``.
    """
    are_spark = [looks_like_sparks(path) for path in paths]
    if not any(are_spark):
        return None
    if not all(are_spark):
        raise click.ClickException(
            f"Spark's files and others are looked at separately: {paths[are_spark.index(True)]} and "
            f"{paths[are_spark.index(False)]}"
        )
    found = [find_paths(path) for path in paths if not os.path.isdir(path)]
    if roots := [path for path in paths if os.path.isdir(path)]:
        found += [output for _, output in find_outputs(roots)]
    if not found:
        raise click.ClickException(f"no shuffle files: looked for shuffle_*_*_*.index below {', '.join(paths)}")
    return found


def inspect_spark(outputs: Sequence[OutputPaths], order: str | None, top: int | None, *, as_json: bool) -> int:
    """Print what outputs say of themselves; the exit code."""
    if order in {"rows", "batches"}:
        raise click.ClickException("what Spark's ranges hold is opaque: sort by partition or size")
    files, problems, code = [], [], 0
    for paths in outputs:
        try:
            files.append(inspect_output(paths))
        except (SpillError, OSError) as error:
            code = max(code, EXIT_DAMAGED if _state_of(error) == "damaged" else EXIT_ERROR)
            problems.append({"path": paths.data, "state": _state_of(error), "problem": describe(error)})
            say_error(f"damaged: {describe(error)}" if _state_of(error) == "damaged" else describe(error))
    together = combined_sizes([file.sizes for file in files])
    if as_json:
        listed = [_with_partitions(file, order, top) for file in files]
        summary = None if together is None else together.as_dict()
        click.echo(as_json_text({"files": listed + problems, "shuffles": _by_shuffle(files), "together": summary}))
        return code
    top = _DEFAULT_TOP if top is None else top
    if files:
        click.echo(_table_of_files(files, top))
    shuffles = _by_shuffle(files)
    if len(shuffles) > 1 or (together is None and files):
        click.echo("\n" + _table_of_shuffles(shuffles))
    elif together is not None:
        click.echo(f"\n{aligned(_facts(together), left=(0, 1))}")
        if top:
            click.echo("\n" + _table_of_partitions(together, order, top))
    return code


def verify_spark(outputs: Sequence[OutputPaths], *, as_json: bool, quiet: bool, bar_shown: bool) -> int:
    """Recompute the checksums of outputs, print a verdict for each; the exit code."""
    total = sum(os.path.getsize(paths.data) for paths in outputs if os.path.isfile(paths.data))
    with progress_bar(total, "B", "verifying", shown=bar_shown) as progress:
        verdicts = [_verdict(paths, progress) for paths in outputs]
    if as_json:
        click.echo(as_json_text({"files": verdicts}))
    else:
        for verdict in verdicts:
            if verdict["state"] == "unreadable":
                say_error(verdict["problem"])
            elif verdict["state"] == "damaged":
                click.echo(f"{verdict['path']}: damaged: {verdict['problem']}")
            elif not quiet:
                checked = f"{verdict['checksums']} of each" if verdict["checksums"] else "no checksums to compare"
                facts = counted(verdict["partition_count"], "partition"), checked, sized(verdict["byte_count"])
                click.echo(f"{verdict['path']}: ok ({', '.join(facts)})")
    states = [verdict["state"] for verdict in verdicts]
    if damaged := states.count("damaged"):
        say_error(f"{damaged:,} of {counted(len(states), 'output')} damaged")
    if "unreadable" in states:
        return EXIT_ERROR
    return EXIT_DAMAGED if damaged else 0


def _state_of(error: SpillError | OSError) -> Literal["damaged", "unreadable"]:
    return "damaged" if is_damage(error) else "unreadable"


def _verdict(paths: OutputPaths, progress: Callable[[int], None]) -> dict[str, Any]:
    try:
        found = verify_output(paths, progress)
    except (SpillError, OSError) as error:
        return {"path": paths.data, "state": _state_of(error), "problem": describe(error)}
    if found.first_damage is None:
        return {"state": "ok", **found.as_dict()}
    return {"state": "damaged", **found.as_dict(), "problem": _damage(found)}


def _damage(found: SparkVerification) -> str:
    of = f"{len(found.damaged_partitions):,} of {counted(found.partition_count, 'partition')}"
    return f"{of} ({as_ranges(list(found.damaged_partitions))}); {found.first_damage}"


def _ordered(sizes: RangeSizes, order: str | None, top: int | None) -> Int64Array:
    count = len(sizes.byte_counts)
    by_size = order == "size" or (order is None and top is not None and count > top)
    numbers = np.argsort(-sizes.byte_counts, kind="stable") if by_size else np.arange(count)
    return numbers[:top]


def _with_partitions(file: SparkInspection, order: str | None, top: int | None) -> dict[str, Any]:
    numbers = _ordered(file.sizes, order or "partition", top)
    pairs = zip(numbers.tolist(), file.sizes.byte_counts[numbers].tolist(), strict=True)
    partitions = [{"partition": number, "byte_count": byte_count} for number, byte_count in pairs]
    return {"state": "ok", **file.as_dict(), "partitions": partitions}


def _table_of_files(files: Sequence[SparkInspection], top: int) -> str:
    rows = [("output", "bytes", "partitions", "empty", "skew", "checksums", "codec")]
    for file in files[: max(top, 1)]:
        summary = file.sizes.as_dict()
        rows.append(
            (
                file.path,
                sized(file.byte_count),
                f"{summary['partition_count']:,}",
                f"{summary['empty_partition_count']:,}",
                "–" if file.sizes.skew is None else f"{file.sizes.skew:.2f}",
                file.checksums or "–",
                " and ".join(file.codecs) or "–",
            )
        )
    return aligned(rows, left=(0, 5, 6)) + _rest(len(files) - len(rows) + 1, "output")


def _by_shuffle(files: Sequence[SparkInspection]) -> list[dict[str, Any]]:
    """What the outputs of each shuffle have together, as JSON has it; the shuffle is None where names do not tell it,
    and sizes are missing where the outputs have different numbers of partitions."""
    groups: dict[int | None, list[RangeSizes]] = {}
    for file in files:
        name = parse_name(file.path)
        groups.setdefault(None if name is None else name.shuffle, []).append(file.sizes)
    rows = []
    for shuffle, sizes in groups.items():
        together = combined_sizes(sizes)
        summary = {} if together is None else together.as_dict()
        rows.append({"shuffle": shuffle, "output_count": len(sizes), **summary})
    return rows


def _table_of_shuffles(shuffles: Sequence[dict[str, Any]]) -> str:
    rows = [("shuffle", "outputs", "bytes", "partitions", "empty", "largest", "skew")]
    for each in shuffles:
        if "partition_count" in each:
            skew = "–" if each["skew"] is None else f"{each['skew']:.2f}"
            sizes = sized(each["range_bytes"]), f"{each['partition_count']:,}", f"{each['empty_partition_count']:,}"
            cells = (*sizes, sized(each["largest_bytes"]), skew)
        else:
            cells = ("–", "differing", "–", "–", "–")
        shuffle = "–" if each["shuffle"] is None else str(each["shuffle"])
        rows.append((shuffle, f"{each['output_count']:,}", *cells))
    return aligned(rows)


def _facts(sizes: RangeSizes) -> list[tuple[str, str]]:
    of = sizes.as_dict()
    spread = ", ".join(sized(of[f"{which}_bytes"]) for which in ("smallest", "median", "largest"))
    skew = "– (most partitions are empty)" if sizes.skew is None else f"{sizes.skew:.2f} (largest over median)"
    return [
        ("bytes", sized(of["range_bytes"])),
        ("partitions", f"{of['partition_count']:,}, of which {of['empty_partition_count']:,} empty"),
        ("bytes each", f"{spread} (smallest, median, largest)"),
        ("skew", skew),
    ]


def _table_of_partitions(sizes: RangeSizes, order: str | None, top: int) -> str:
    numbers = _ordered(sizes, order, top).tolist()
    total = max(int(sizes.byte_counts.sum()), 1)
    rows = [("partition", "bytes", "share")]
    for number in numbers:
        byte_count = int(sizes.byte_counts[number])
        rows.append((str(number), sized(byte_count), f"{byte_count / total:.2%}"))
    return aligned(rows) + _rest(len(sizes.byte_counts) - len(numbers), "partition")


def _rest(count: int, noun: str) -> str:
    return f"\n… and {counted(count, f'further {noun}')} (--top N shows more)" if count > 0 else ""
