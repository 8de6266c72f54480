"""``shuffle verify``: whether every byte of files is the one that was written."""

from __future__ import annotations

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import EXIT_CODES, progress_bar, say_error, say_result
from shuffle.inspecting.kinds import find
from shuffle.inspecting.verification import MAXIMUM_THREADS, Verification, verify_each
from shuffle.wording import as_json_text


@click.command(
    "verify",
    cls=Command,
    sections={"Checks": ["fast", "threads"]},
    context_settings=CONTEXT_SETTINGS,
    short_help="Check structure, checksums and record batches of files.",
    epilog="""\b
Examples:
  shuffle verify merged.arrow
  shuffle verify spills/ --quiet && rm -r backup/
  shuffle verify spills/ --fast
  shuffle verify spills/ --json | jq '.files[] | select(.state != "ok")'
""",
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…", type=PATH)
@click.option("--fast", is_flag=True, help="Check structure, index and footer alone; no row is read.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Partitions checked at a time.  [default: one a core, at most {MAXIMUM_THREADS}]",
)
@json_option
@output_options
def command(paths: tuple[str, ...], *, fast: bool, threads: int | None, as_json: bool, output: Output) -> int:
    """Read files whole: check their structure, check that footer and index agree, recompute the checksum of every
    partition, and decode every record batch.

    A directory stands for the *.arrow files in it. Each file gets one line: "ok", or what is damaged, and which
    partitions are sound. A spill is "unfit" if a merge with the spills beside it would refuse it: for another schema,
    partitioner or number of partitions, or because other spills of its map task are missing. With --quiet only such
    files get a line. The exit code is 1 if a file is damaged or unfit, 2 if a file could not be checked.

    Spark's shuffle files, X.data with its companions, and directories of them, are checked by the checksums that Spark
    recorded. Pushed partitions, which Spark's push-based shuffle makes, have no checksums: chunks are named that are
    missing, cut off, or contradict what else is recorded of them.
    """
    files = find(paths)
    total = 0 if fast else sum(file.byte_count for file in files)
    verdicts = []
    with progress_bar(total, "B", "verifying", shown=output.bar_shown) as progress:
        for verdict in verify_each(files, fast=fast, threads=threads, progress=progress):
            verdicts.append(verdict)
            if as_json:
                continue
            if verdict.state == "unreadable":
                say_error(verdict.problem or "")
            elif verdict.state != "ok" or not output.quiet:
                say_result(str(verdict), output.bar_shown)
    verification = Verification(tuple(verdicts))
    if as_json:
        click.echo(as_json_text(verification.as_dict()))
    told = len(verdicts) == 1 and verification.state == "unreadable" and not as_json
    if not verification.is_sound and not told:  # also where stdout goes to a file
        say_error(verification.bad)
    return EXIT_CODES[verification.state]
