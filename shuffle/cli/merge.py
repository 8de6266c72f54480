"""``shuffle merge``, also called ``shuffle-merge``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import click

from shuffle.cli.command import Command
from shuffle.cli.options import (
    CONTEXT_SETTINGS,
    PATH,
    Output,
    Partitions,
    Size,
    json_option,
    merge_options,
    output_options,
    version_option,
)
from shuffle.cli.terminal import (
    EXIT_DAMAGED,
    EXIT_ERROR,
    describe,
    logged_to,
    progress_bar,
    say,
    say_error,
    say_warning,
)
from shuffle.merging.formats import FormatName, MergeFormat, SparkFormat
from shuffle.merging.merge import merge_prepared, prepare_merge
from shuffle.merging.metrics import metrics_written
from shuffle.merging.sources import BadSourcesError
from shuffle.merging.target_writer import PreparedMerge
from shuffle.option_kinds import MINIMUM_MEMORY_BYTES
from shuffle.options import IoPriority, MergeOptions
from shuffle.report import MergeReport
from shuffle.wording import as_json_text
from spill_format.errors import SpillError

_PUSH: Literal["spark-push"] = "spark-push"

_SECTIONS = {
    "Output": ["target", "overwrite", "durable", "verify", "dry_run"],
    "Sources": ["partitions", "delete_sources", "skip_damaged", "mix_partitioners"],
    "Compaction": ["compact", "memory_bytes"],
    "Copying": ["transfer_to", "method", "threads", "limit_rate", "io_priority"],
    "Spark's files": ["kind", "shuffle", "codec", "app_id"],
}


@click.command(
    "merge",
    cls=Command,
    sections=_SECTIONS,
    context_settings=CONTEXT_SETTINGS,
    short_help="Merge spill files into one, partition by partition.",
    epilog="""\b
Examples:
  shuffle-merge spills/ -o merged.arrow
  shuffle-merge a.spill.arrow b.spill.arrow -o merged.arrow --durable --delete-sources
  shuffle-merge spills/ -o merged.arrow --compact --memory 1GiB
  shuffle-merge spills/ --dry-run
  shuffle-merge /tmp/spark/blockmgr-*/ --shuffle 3 -o shuffle_3_0_0.data
  shuffle-merge /tmp/spark/blockmgr-*/ --kind spark-push -o merged/
""",
)
@click.argument("sources", nargs=-1, required=True, metavar="DIR|FILE…", type=PATH)
@click.option("-o", "--output", "target", metavar="OUT", type=PATH, help="The file to make.")
@click.option(
    "--kind",
    type=click.Choice((*get_args(FormatName), _PUSH)),
    default="auto",
    help="What is merged: Arrow files, Spark's shuffle files, or these into its push-based layout, a file for each "
    "partition in the directory OUT.  [default: what the sources plainly are]",
)
@click.option("--app-id", default="app", metavar="ID", help="The application in the names of files of spark-push.")
@click.option(
    "--shuffle", type=click.IntRange(min=0), metavar="N", help="Of Spark's directories: this shuffle's outputs."
)
@click.option("--codec", metavar="NAME", help="What Spark compressed with; refused if its streams do not concatenate.")
@click.option(
    "--compact",
    is_flag=True,
    help="Decode, join small record batches into batches of 1 MiB, encode again: slower to make, faster to read.",
)
@click.option(
    "--memory",
    "memory_bytes",
    type=Size(MINIMUM_MEMORY_BYTES),
    metavar="SIZE",
    help="Memory for --compact.  [default: 256MiB]",
)
@click.option(
    "-p",
    "--partition",
    "partitions",
    type=Partitions(),
    metavar="N|N-M|N-,…",
    help="Merge these partitions alone: 3-6 are 3, 4, 5 and 6; 8- are all from 8 on. OUT's others are empty.",
)
@click.option("--mix-partitioners", is_flag=True, help="Merge files whose rows different partitioners placed.")
@click.option("--delete-sources", is_flag=True, help="Remove the sources once OUT is published.")
@click.option("--skip-damaged", is_flag=True, help="Leave out damaged sources, name them, and exit with 1.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check the sources, OUT and the room for it; print what would be done; write nothing.",
)
@click.option("--limit-rate", type=Size(1), metavar="SIZE", help="Write at most SIZE bytes each second, as in 200MiB.")
@click.option(
    "--io-priority",
    type=click.Choice(get_args(IoPriority)),
    help="Let other processes go first at the disk, where its scheduler knows priorities.",
)
@click.option("--log", metavar="FILE", type=PATH, help="Append what happens to FILE, a line each, with the time.")
@click.option(
    "--metrics", metavar="FILE", type=PATH, help="Replace FILE by metrics for Prometheus' textfile collector (*.prom)."
)
@merge_options
@json_option
@output_options
@version_option
def command(  # noqa: PLR0913 (one argument an option)
    sources: tuple[str, ...],
    target: str | None,
    *,
    kind: FormatName | Literal["spark-push"],
    app_id: str,
    shuffle: int | None,
    codec: str | None,
    compact: bool,
    memory_bytes: int | None,
    mix_partitioners: bool,
    delete_sources: bool,
    log: str | None,
    as_json: bool,
    options: MergeOptions,
    output: Output,
    **beside: Any,
) -> None:
    """Concatenate spill files, partition by partition, into one file OUT, without decoding a byte.

    A partition's rows keep the order in which the files are given; a directory stands for the *.spill.arrow files in
    it, in natural order of their names. All sources are checked before anything is written, and OUT appears whole
    or not at all. With --compact they are decoded after all, so that OUT has fewer and larger record batches.

    Spark's shuffle files, X.data with X.index and X.checksum.*, are merged likewise: OUT is Y.data, and a directory,
    such as blockmgr-*, stands for the outputs of a shuffle below it, in the order of its maps. What their ranges hold
    is never looked at: it must be of a codec whose streams concatenate, as all of Spark's are.
    """
    _check_usage(target, memory_bytes, dry_run=beside["dry_run"], compact=compact)
    started = time.perf_counter()
    options = replace(
        options,
        delete_sources=delete_sources,
        compact=compact,
        memory_bytes=memory_bytes,
        mix_partitioners=mix_partitioners,
        **beside,
    )
    if kind == _PUSH:
        if target is None or beside["dry_run"]:
            raise click.UsageError("spark-push has no --dry-run", click.get_current_context())
        with logged_to(log):
            _merge_pushed(sources, target, options, SparkFormat(shuffle, codec), app_id, as_json=as_json, output=output)
        return
    file_format = _format_of(kind, shuffle, codec)
    with logged_to(log), metrics_written(options) as note, _each_bad_source_told(as_json=as_json):
        prepared = prepare_merge(sources, file_format, target, options)
        if options.dry_run and not as_json:
            click.echo(str(prepared.plan))
        if target is None:
            if as_json:
                click.echo(as_json_text(_plan_as_dict(prepared, prepared.report("", started, dry_run=True))))
            return
        with progress_bar(prepared.plan.byte_count, "B", "merging", shown=output.bar_shown) as progress:
            report = merge_prepared(prepared, target, options, progress=progress, started=started)
        note(report)
    _tell(prepared, report, target, as_json=as_json, output=output)


def _check_usage(target: str | None, memory_bytes: int | None, *, dry_run: bool, compact: bool) -> None:
    if target is None and not dry_run:
        raise click.UsageError(
            "where shall the merged file go? Give its name with -o, as in: shuffle-merge spills/ -o merged.arrow",
            click.get_current_context(),
        )
    if memory_bytes is not None and not compact:
        raise click.UsageError("--memory is for --compact", click.get_current_context())


def _tell(prepared: PreparedMerge, report: MergeReport, target: str, *, as_json: bool, output: Output) -> None:
    for source in report.skipped:
        say_warning(f"left out: {source.problem}")
    if as_json:
        click.echo(as_json_text(_plan_as_dict(prepared, report) if report.dry_run else report.as_dict()))
    if not output.quiet:
        say(f"{target}: {report}")
    if report.skipped:
        raise click.exceptions.Exit(EXIT_DAMAGED)


@contextmanager
def _each_bad_source_told(*, as_json: bool) -> Iterator[None]:
    """Print a line for each of several bad sources, and with --json an object of all; exit with 2."""
    try:
        yield
    except BadSourcesError as error:
        if as_json:
            listed = [{"path": _path_of(problem), "problem": describe(problem)} for problem in error.problems]
            click.echo(as_json_text({"errors": listed}))
        for problem in error.problems:
            say_error(describe(problem))
        raise click.exceptions.Exit(EXIT_ERROR) from error


def _path_of(problem: Exception) -> str | None:
    path = problem.path if isinstance(problem, SpillError) else getattr(problem, "filename", None)
    return None if path is None else os.fsdecode(path)


def _merge_pushed(
    sources: tuple[str, ...],
    target: str,
    options: MergeOptions,
    spark_format: SparkFormat,
    app_id: str,
    *,
    as_json: bool,
    output: Output,
) -> None:
    from shuffle.merging.push_merge import merge_pushed

    os.makedirs(target, exist_ok=True)
    report = merge_pushed(sources, target, options, application=app_id, spark_format=spark_format)
    if as_json:
        click.echo(as_json_text(report.as_dict()))
    if not output.quiet:
        say(f"{target}: {report}")


def _format_of(name: FormatName, shuffle: int | None, codec: str | None) -> FormatName | MergeFormat:
    """The format chosen, with what was said of it."""
    if shuffle is None and codec is None:
        return name
    if name == "arrow":
        raise click.UsageError("--shuffle and --codec are for Spark's files", click.get_current_context())
    return SparkFormat(shuffle, codec)


def _plan_as_dict(prepared: PreparedMerge, report: MergeReport) -> dict[str, Any]:
    """What would be done, with the sources that were checked."""
    sources = [
        {"path": source.path, "byte_count": source.identity.byte_count, "row_count": source.layout.row_count}
        for source in prepared.sources
    ]
    return {**report.as_dict(), "target": report.target or None, "sources": sources}
