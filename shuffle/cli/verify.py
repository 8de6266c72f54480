"""``shuffle verify``: whether every byte of files is the one that was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from shuffle.cli.files import partitioned_files
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say_error
from shuffle.cli.wording import as_json_text, counted, sized
from shuffle.inspection import Verification, is_damage, verify_file
from spill_format.errors import SpillError

_LISTED_PARTITIONS = 10


@click.command(
    "verify",
    context_settings=CONTEXT_SETTINGS,
    short_help="Check structure and checksums of files.",
    epilog="""\b
Examples:
  shuffle verify merged.arrow
  shuffle verify spills/ --quiet && rm -r backup/
""",
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…", type=PATH)
@json_option
@output_options
def command(paths: tuple[str, ...], *, as_json: bool, output: Output) -> int:
    """Read files whole, check their structure and recompute the checksum of every partition.

    A directory stands for the *.arrow files in it. Prints a line for each file: "ok", or what is damaged; with --quiet
    only the damaged ones. Exit code 1 if a file is damaged, 2 if one could not be checked.
    """
    files = partitioned_files(paths)
    verdicts = []
    with progress_bar(_bytes_of(files), "B", "verifying", shown=output.bar_shown) as progress:
        for path in files:
            verdict = _verdict(path, progress)
            verdicts.append(verdict)
            if as_json:
                continue
            if verdict["state"] == "unreadable":
                say_error(verdict["problem"])
            elif verdict["state"] == "damaged":
                _print_line(f"{path}: damaged: {verdict['problem']}", output)
            elif not output.quiet:
                facts = (
                    counted(verdict["partition_count"], "partition"),
                    counted(verdict["row_count"], "row"),
                    sized(verdict["byte_count"]),
                )
                _print_line(f"{path}: ok ({', '.join(facts)})", output)
    if as_json:
        click.echo(as_json_text({"files": verdicts}))
    return _conclusion(verdicts)


def _verdict(path: str, progress: Callable[[int], None]) -> dict[str, Any]:
    """What is known of one file, as JSON has it."""
    try:
        verification = verify_file(path, progress)
    except (SpillError, OSError) as error:
        return {"path": path, "state": "damaged" if is_damage(error) else "unreadable", "problem": describe(error)}
    if verification.first_damage is None:
        return {"state": "ok", **verification.as_dict()}
    return {"state": "damaged", **verification.as_dict(), "problem": _damage(verification)}


def _damage(verification: Verification) -> str:
    damaged = verification.damaged_partitions
    numbers = ", ".join(map(str, damaged[:_LISTED_PARTITIONS])) + (", …" if len(damaged) > _LISTED_PARTITIONS else "")
    of = f"{len(damaged):,} of {counted(verification.partition_count, 'partition')} ({numbers})"
    return f"{of}; {verification.first_damage}"


def _conclusion(verdicts: Sequence[dict[str, Any]]) -> int:
    """The exit code; damage is also counted on stderr, for those who keep stdout in a file."""
    states = [verdict["state"] for verdict in verdicts]
    if damaged := states.count("damaged"):
        say_error(f"{damaged:,} of {counted(len(states), 'file')} damaged")
    if "unreadable" in states:
        return EXIT_ERROR
    return EXIT_DAMAGED if damaged else 0


def _print_line(line: str, output: Output) -> None:
    """On stdout, above the bar where both share a terminal."""
    if output.bar_shown:
        from tqdm import tqdm

        tqdm.write(line)
    else:
        click.echo(line)


def _bytes_of(files: Sequence[str]) -> int:
    """About as many as will be read: what a file has besides its ranges is little."""
    return sum(os.path.getsize(path) for path in files if os.path.isfile(path))
