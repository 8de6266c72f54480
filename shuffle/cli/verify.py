"""``shuffle verify``: whether every byte of files is the one that was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from shuffle.cli.files import partitioned_files
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.spark import spark_files, verify_spark
from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say_error
from shuffle.inspecting.soundness import Unverifiable, Verification, verify_files
from shuffle.wording import as_json_text, as_ranges, counted, sized

_MAXIMUM_THREADS = 8  # more gain nothing: few disks answer faster to more


@click.command(
    "verify",
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
    help=f"Partitions checked at a time.  [default: one a core, at most {_MAXIMUM_THREADS}]",
)
@json_option
@output_options
def command(paths: tuple[str, ...], *, fast: bool, threads: int | None, as_json: bool, output: Output) -> int:
    """Read files whole: check their structure, that footer and index agree, recompute the checksum of every partition,
    and decode every record batch.

    A directory stands for the *.arrow files in it. Prints a line for each file: "ok", or what is damaged, and which
    partitions are sound and which are not; with --quiet only the damaged ones. Exit code 1 if a file is damaged, 2 if
    one could not be checked.

    Spark's shuffle files, X.data with its companions, and directories of them, are checked likewise, by the checksums
    that Spark recorded; what their ranges hold is not looked at. Of merged partitions of its push-based shuffle, which
    have no checksums, it is told which chunks are missing, cut off, or contradict what else is recorded of them.
    """
    if (spark := spark_files(paths)) is not None:
        return verify_spark(spark, as_json=as_json, quiet=output.quiet, bar_shown=output.bar_shown)
    files = partitioned_files(paths)
    threads = threads or min(os.cpu_count() or 1, _MAXIMUM_THREADS)
    total = 0 if fast else sum(os.path.getsize(path) for path in files if os.path.isfile(path))
    verdicts = []
    with progress_bar(total, "B", "verifying", shown=output.bar_shown) as progress:
        for path, found in zip(files, verify_files(files, fast=fast, threads=threads, progress=progress), strict=True):
            verdict = _verdict(path, found)
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
                    *(["structure only"] if fast else []),
                )
                _print_line(f"{path}: ok ({', '.join(facts)})", output)
    if as_json:
        click.echo(as_json_text({"files": verdicts}))
    return _conclusion(verdicts)


def _verdict(path: str, found: Verification | Unverifiable) -> dict[str, Any]:
    """What is known of one file, as JSON has it."""
    if not isinstance(found, Verification):
        return {"path": path, "state": "unreadable", "problem": describe(found)}
    if found.first_damage is None:
        return {"state": "ok", **found.as_dict()}
    return {"state": "damaged", **found.as_dict(), "problem": _damage(found)}


def _damage(found: Verification) -> str:
    """What is damaged, in words: partitions first, where they are known."""
    assert found.first_damage is not None
    error = describe(found.first_damage)
    if found.partition_count is None:
        return error
    damaged, sound = found.damaged_partitions.tolist(), found.sound_partitions.tolist()
    of = f"{len(damaged):,} of {counted(found.partition_count, 'partition')}"
    if not found.structure_is_sound:
        lost = f"{of} lost rows or may have ({as_ranges(damaged)})" if damaged else "no partition lost rows"
        return f"{error}; {lost}; sound: {as_ranges(sound) or 'none'}"
    return f"{of} ({as_ranges(damaged)}), sound: {as_ranges(sound) or 'none'}; {error}"


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
