"""``shuffle repair``: a sound file from what is whole in a damaged one, and what was lost."""

from __future__ import annotations

import os

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import EXIT_CODES, progress_bar, say, say_error, say_warning
from shuffle.inspecting.repair import repair
from shuffle.wording import as_json_text


@click.command(
    "repair",
    cls=Command,
    sections={"Output": ["target", "overwrite", "durable"]},
    context_settings=CONTEXT_SETTINGS,
    short_help="Recover what is whole in damaged files.",
    epilog="""\b
Examples:
  shuffle repair damaged.arrow -o repaired.arrow
  shuffle repair cut.spill.arrow -o whole.spill.arrow --json | jq '.files[].losses'
  shuffle repair spills/ -o repaired/

\b
Exit codes:
  0  everything was recovered
  1  OUT was written, and something is lost, or may be
  2  nothing could be recovered, a file could not be read, or wrong usage
""",
)
@click.argument("path", metavar="FILE|DIR", type=PATH)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="OUT",
    type=PATH,
    required=True,
    help="The file to make; of DIR, the directory for the new files.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists; FILE itself is never written to.")
@click.option("--durable", is_flag=True, help="Wait until OUT is safe on the disk (fsync).")
@json_option
@output_options
def command(path: str, *, target: str, overwrite: bool, durable: bool, as_json: bool, output: Output) -> int:
    """Write every whole record batch of FILE to OUT, with a new header, index and footer; or do so for each *.arrow
    file in DIR, into the directory OUT, under the same names.

    FILE may be cut off anywhere and damaged anywhere: each record batch has its own checksums and says which partition
    it belongs to. The losses are told partition by partition: exactly, where FILE's index is still readable, otherwise
    as exactly as the remaining bytes tell.

    A pushed partition, X.data with X.index and X.meta, which Spark's push-based shuffle makes, is repaired into Y.data:
    every whole chunk is kept. The maps' own outputs still hold the blocks that are lost.
    """
    total = 2 * os.path.getsize(path) if os.path.isfile(path) else None
    with progress_bar(total, "B", "repairing", shown=output.bar_shown) as progress:
        repaired = repair(path, target, overwrite=overwrite, durable=durable, progress=progress)
    if as_json:
        click.echo(as_json_text(repaired.as_dict()))
    else:
        for file in repaired.files:
            for line in file.lost:
                say_warning(f"{file.path}: {line}")
        for failure in repaired.failures:
            say_error(f"{failure.state}: {failure.problem}")
    if not output.quiet:
        say(str(repaired))
    return EXIT_CODES[repaired.state]
