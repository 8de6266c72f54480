"""``shuffle repair``: a sound file from what is whole in a damaged one, and what was lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.spark import is_pushed
from shuffle.cli.terminal import EXIT_DAMAGED, progress_bar, say, say_warning
from shuffle.wording import as_json_text, counted, sized

if TYPE_CHECKING:
    from shuffle.inspecting.losses import Loss

_LISTED_LOSSES = 20


@click.command(
    "repair",
    context_settings=CONTEXT_SETTINGS,
    short_help="Recover what is whole in a damaged file.",
    epilog="""\b
Examples:
  shuffle repair damaged.arrow -o repaired.arrow
  shuffle repair cut.spill.arrow -o whole.spill.arrow --json | jq '.losses'
  shuffle repair merge_manager/ -o repaired/

\b
Exit codes:
  0  everything was recovered
  1  OUT was written, and something is lost, or may be
  2  nothing could be recovered, or wrong usage
""",
)
@click.argument("path", metavar="FILE|DIR", type=PATH)
@click.option(
    "-o", "--output", "target", metavar="OUT", type=PATH, required=True, help="The file to make; of DIR, where."
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists; FILE itself is never written to.")
@click.option("--durable", is_flag=True, help="Wait until OUT is safe on the disk (fsync).")
@json_option
@output_options
def command(path: str, *, target: str, overwrite: bool, durable: bool, as_json: bool, output: Output) -> int:
    """Write every whole record batch of FILE to OUT, with a new header, index and footer.

    FILE may be cut off anywhere and damaged anywhere: each record batch has its own checksums and says which partition
    it belongs to. What is lost is told partition by partition, exactly where FILE's index is still readable, and
    else as exactly as what is left tells.

    Of a merged partition of Spark's push-based shuffle, X.data with X.index and X.meta, or of all in a directory, every
    whole chunk is written to OUT, which is Y.data, or a directory: what was being appended when its writer died is
    left out. The blocks of maps that are lost are in the maps' own outputs.
    """
    if is_pushed(path):
        from shuffle.cli.repair_pushed import repair_and_tell

        return repair_and_tell(path, target, output, overwrite=overwrite, durable=durable, as_json=as_json)
    from shuffle.inspecting.repair import repair

    total = 2 * os.path.getsize(path) if os.path.isfile(path) else None
    with progress_bar(total, "B", "repairing", shown=output.bar_shown) as progress:
        found = repair(path, target, overwrite=overwrite, durable=durable, progress=progress)
    if as_json:
        click.echo(as_json_text({**found.as_dict(), "target": target}))
    else:
        for line in _losses(found.losses):
            say_warning(f"{path}: {line}")
    if not output.quiet:
        of_what = f"{counted(found.row_count, 'row')} in {counted(len(found.messages), 'batch')}"
        parts = f"; made anew: {', '.join(found.lost_parts)}" if found.lost_parts else ""
        say(f"{target}: recovered {of_what}, {sized(found.recovered_bytes)}{parts}")
    return EXIT_DAMAGED if found.losses else 0


def _losses(losses: Sequence[Loss]) -> list[str]:
    """A line for each loss, as far as they are not too many."""
    lines = [_loss(loss) for loss in losses[:_LISTED_LOSSES]]
    if further := len(losses) - len(lines):
        rows = sum(loss.row_count or 0 for loss in losses[_LISTED_LOSSES:])
        lines.append(f"{further:,} further partitions lost {counted(rows, 'row')} or more (--json lists all)")
    return lines


def _loss(loss: Loss) -> str:
    where = f"partition {loss.first_partition}"
    if loss.first_partition != loss.last_partition:
        where = f"partitions {loss.first_partition} to {loss.last_partition}"
    if loss.row_count is None or loss.batch_count is None:
        return f"{where} may have lost rows; nothing is left that tells how many"
    return f"{where} lost {counted(loss.row_count, 'row')} in {counted(loss.batch_count, 'batch')}"
