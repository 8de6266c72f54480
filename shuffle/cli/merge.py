"""``shuffle merge``, also called ``shuffle-merge``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click

from shuffle.cli.options import (
    CONTEXT_SETTINGS,
    PATH,
    Output,
    json_option,
    merge_options,
    output_options,
    version_option,
)
from shuffle.cli.terminal import progress_bar, say
from shuffle.cli.wording import as_json_text
from shuffle.config import MergeOptions
from shuffle.merge import merge_prepared, prepare_merge
from shuffle.sources import find_sources
from shuffle.target_writer import PreparedMerge


@click.command(
    "merge",
    context_settings=CONTEXT_SETTINGS,
    short_help="Merge spill files into one, partition by partition.",
    epilog="""\b
Examples:
  shuffle-merge spills/ -o merged.arrow
  shuffle-merge a.spill.arrow b.spill.arrow -o merged.arrow --durable --delete-sources
  shuffle-merge spills/ --dry-run
""",
)
@click.argument("sources", nargs=-1, required=True, metavar="DIR|FILE…", type=PATH)
@click.option("-o", "--output", "target", metavar="OUT", type=PATH, help="The file to make.")
@click.option("--delete-sources", is_flag=True, help="Remove the sources once OUT is published.")
@click.option("--dry-run", is_flag=True, help="Check the sources, print the plan, write nothing.")
@merge_options
@json_option
@output_options
@version_option
def command(
    sources: tuple[str, ...],
    target: str | None,
    *,
    delete_sources: bool,
    dry_run: bool,
    as_json: bool,
    options: MergeOptions,
    output: Output,
) -> None:
    """Concatenate spill files, partition by partition, into one file OUT, without decoding a byte.

    A partition's rows keep the order in which the files are given; a directory stands for the *.spill.arrow files in
    it, in natural order of their names. All sources are checked before anything is written, and OUT appears whole
    or not at all.
    """
    if target is None and not dry_run:
        raise click.UsageError(
            "where shall the merged file go? Give its name with -o, as in: shuffle-merge spills/ -o merged.arrow",
            click.get_current_context(),
        )
    started = time.perf_counter()
    prepared = prepare_merge(find_sources(sources))
    if target is None or dry_run:
        click.echo(as_json_text(_plan_as_dict(prepared, target)) if as_json else str(prepared.plan))
        return
    options = replace(options, delete_sources=delete_sources)
    with progress_bar(prepared.plan.byte_count, "B", "merging", shown=output.bar_shown) as progress:
        report = merge_prepared(prepared, target, options, progress=progress, started=started)
    if as_json:
        click.echo(as_json_text(report.as_dict()))
    if not output.quiet:
        say(f"{target}: {report}")


def _plan_as_dict(prepared: PreparedMerge, target: str | None) -> dict[str, Any]:
    plan = prepared.plan
    return {
        "target": target,
        "sources": [
            {"path": source.path, "byte_count": source.identity.byte_count, "row_count": source.layout.row_count}
            for source in prepared.sources
        ],
        "source_count": plan.source_count,
        "partition_count": plan.partition_count,
        "row_count": sum(source.layout.row_count or 0 for source in prepared.sources),
        "range_count": plan.range_count,
        "segment_count": plan.segment_count,
        "byte_count": plan.byte_count,
    }
