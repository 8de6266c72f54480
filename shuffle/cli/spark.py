"""What ``shuffle inspect`` and ``shuffle verify`` say about Spark's files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import click
import numpy as np

from shuffle.cli import spark_push
from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say_error
from shuffle.inspecting.inspection import is_damage
from shuffle.inspecting.push_inspection import by_shuffle
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
from shuffle.wording import aligned, as_json_text, as_ranges, counted, sized
from spill_format.errors import SpillError
from spill_format.layout import Int64Array
from spill_format.spark.discovery import (
    find_outputs,
    find_pushed,
    find_pushed_files_of,
    parse_name,
    parse_pushed_name,
)
from spill_format.spark.outputs import DATA_SUFFIX, OutputPaths
from spill_format.spark.pushed_scan import PushedPaths, meta_path_of

_DEFAULT_TOP = 20


class SparkFiles(NamedTuple):
    """Map outputs, and merged partitions of push-based shuffles."""

    outputs: list[OutputPaths]
    pushed: list[PushedPaths]


def spark_files(paths: Sequence[str]) -> SparkFiles | None:
    """The files meant by arguments that are plainly Spark's: ``.data`` files, and directories with shuffle files, of
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
    found = SparkFiles([], [])
    for path in paths:
        if not os.path.isdir(path):
            if is_pushed(path):
                found.pushed.append(find_pushed_files_of(path))
            else:
                found.outputs.append(find_paths(path))
    if roots := [path for path in paths if os.path.isdir(path)]:
        found.outputs.extend(output for _, output in find_outputs(roots))
        found.pushed.extend(partition for _, partition in find_pushed(roots))
    if not found.outputs and not found.pushed:
        raise click.ClickException(f"no shuffle files: looked for shuffle_*_*_*.index below {', '.join(paths)}")
    return found


def is_pushed(path: str) -> bool:
    """Whether a path is that of a merged partition's data file, by its name or since bitmaps lie beside it, or of a
    directory with some; OSError where one cannot be listed."""
    if os.path.isdir(path):
        return looks_like_sparks(path) and bool(find_pushed([path]))
    return path.endswith(DATA_SUFFIX) and (parse_pushed_name(path) is not None or os.path.lexists(meta_path_of(path)))


def inspect_spark(found: SparkFiles, order: str | None, top: int | None, *, as_json: bool) -> int:
    """Print what files say of themselves; the exit code."""
    if order in {"rows", "batches"}:
        raise click.ClickException("what Spark's ranges hold is opaque: sort by partition or size")
    files, problems, code = _inspect_outputs(found.outputs)
    pushed, unreadable, pushed_code = spark_push.inspect_all(found.pushed)
    together = combined_sizes([file.sizes for file in files])
    if as_json:
        listed = [_with_partitions(file, order, top) for file in files] + problems
        listed += spark_push.as_dicts(pushed, order, top) + unreadable
        shuffles = _by_shuffle(files) + [each.as_dict() for each in by_shuffle(pushed)]
        summary = None if together is None else together.as_dict()
        click.echo(as_json_text({"files": listed, "shuffles": shuffles, "together": summary}))
        return max(code, pushed_code)
    top = _DEFAULT_TOP if top is None else top
    if files:
        _print_outputs(files, together, order, top)
    if files and pushed:
        click.echo()
    if pushed:
        spark_push.print_tables(pushed, order, top)
    return max(code, pushed_code)


def _inspect_outputs(outputs: Sequence[OutputPaths]) -> tuple[list[SparkInspection], list[dict[str, Any]], int]:
    """The sound outputs, what is wrong with the others, as JSON has it, and the exit code; what is wrong is also said
    on stderr."""
    files, problems, code = [], [], 0
    for paths in outputs:
        try:
            files.append(inspect_output(paths))
        except (SpillError, OSError) as error:
            code = max(code, EXIT_DAMAGED if _state_of(error) == "damaged" else EXIT_ERROR)
            problems.append({"path": paths.data, "state": _state_of(error), "problem": describe(error)})
            say_error(f"damaged: {describe(error)}" if _state_of(error) == "damaged" else describe(error))
    return files, problems, code


def _print_outputs(files: Sequence[SparkInspection], together: RangeSizes | None, order: str | None, top: int) -> None:
    click.echo(_table_of_files(files, top))
    shuffles = _by_shuffle(files)
    if len(shuffles) > 1 or together is None:
        click.echo("\n" + _table_of_shuffles(shuffles))
        return
    click.echo(f"\n{aligned(_facts(together), left=(0, 1))}")
    if top:
        click.echo("\n" + _table_of_partitions(together, order, top))


def verify_spark(found: SparkFiles, *, as_json: bool, quiet: bool, bar_shown: bool) -> int:
    """Recompute the checksums of outputs, look for contradictions in merged partitions, which have none, and print a
    verdict for each; the exit code."""
    total = sum(os.path.getsize(paths.data) for paths in found.outputs if os.path.isfile(paths.data))
    with progress_bar(total, "B", "verifying", shown=bar_shown) as progress:
        outputs = [_verdict(paths, progress) for paths in found.outputs]
    pushed = [spark_push.verdict_of(paths) for paths in found.pushed]
    if as_json:
        click.echo(as_json_text({"files": outputs + pushed}))
    else:
        for verdict in outputs + pushed:
            if verdict["state"] == "unreadable":
                say_error(verdict["problem"])
            elif verdict["state"] == "damaged":
                click.echo(f"{verdict['path']}: damaged: {verdict['problem']}")
            elif not quiet:
                facts = spark_push.soundness_of(verdict) if verdict["format"] == "spark-push" else _soundness(verdict)
                click.echo(f"{verdict['path']}: ok ({facts})")
    codes = [_conclusion(outputs, "output"), _conclusion(pushed, "merged partition")]
    return max(codes)


def _soundness(verdict: dict[str, Any]) -> str:
    checked = f"{verdict['checksums']} of each" if verdict["checksums"] else "no checksums to compare"
    return f"{counted(verdict['partition_count'], 'partition')}, {checked}, {sized(verdict['byte_count'])}"


def _conclusion(verdicts: Sequence[dict[str, Any]], noun: str) -> int:
    """The exit code; damage is also counted on stderr."""
    states = [verdict["state"] for verdict in verdicts]
    if damaged := states.count("damaged"):
        say_error(f"{damaged:,} of {counted(len(states), noun)} damaged")
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
        rows.append({"format": "spark", "shuffle": shuffle, "output_count": len(sizes), **summary})
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
