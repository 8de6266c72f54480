"""``shuffle doctor``: what this kernel and file system can do, measured, and what ``auto`` will choose."""

from __future__ import annotations

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import progress_bar
from shuffle.inspecting.doctor import RANGE_BYTES, Diagnosis, Trial, doctor
from shuffle.options import METHOD_NAMES
from shuffle.wording import aligned, as_json_text, counted, sized


@click.command(
    "doctor",
    cls=Command,
    sections={},
    context_settings=CONTEXT_SETTINGS,
    short_help="What kernel and file system can do, measured.",
    epilog="""\b
Examples:
  shuffle doctor /mnt/spills
  shuffle doctor . --json
""",
)
@click.argument("directory", metavar="DIR", type=PATH)
@json_option
@output_options
def command(directory: str, *, as_json: bool, output: Output) -> None:
    """Try each copy method between files in a directory, measure it, and say what a merge would choose there.

    The measurement takes a few seconds and 128 MiB, in files without names, which are gone afterwards.
    """
    count = len(METHOD_NAMES) * len(RANGE_BYTES)
    with progress_bar(count, "measurement", "measuring", shown=output.bar_shown) as progress:
        diagnosis = doctor(directory, progress=progress)
    click.echo(as_json_text(diagnosis.as_dict()) if as_json else _text(diagnosis))


def _text(diagnosis: Diagnosis) -> str:
    facts = [
        ("kernel", diagnosis.kernel),
        ("file system", diagnosis.file_system),
        ("block", sized(diagnosis.block_bytes)),
        ("free", sized(diagnosis.free_bytes)),
        ("shares blocks", _said(diagnosis.methods["clone"])),
        ("unnamed files", _said(diagnosis.unnamed_files)),
        ("copy_file_range", _said(diagnosis.methods["copy_file_range"])),
        ("sendfile", _said(diagnosis.methods["sendfile"])),
        ("open sources", f"{diagnosis.descriptors:,} at the same time (ulimit -n)"),
        ("threads", counted(diagnosis.cores, "core")),
        ("map tasks", "compiled functions" if diagnosis.native else "functions in numpy, slower (see the guide)"),
    ]
    return "\n\n".join((aligned(facts, left=(0, 1)), _rates(diagnosis)))


def _rates(diagnosis: Diagnosis) -> str:
    """A line for each range size: the rate of each method, and what ``auto`` chooses."""
    rates = {(rate.range_bytes, rate.method): f"{rate.mib_per_second:,.0f}" for rate in diagnosis.rates}
    rows = [("ranges of", *METHOD_NAMES, "auto", "auto, sources just written")]
    rows += [
        (
            sized(choice.range_bytes),
            *(rates.get((choice.range_bytes, method), "-") for method in METHOD_NAMES),
            choice.clean_sources,
            choice.fresh_sources,
        )
        for choice in diagnosis.choices
    ]
    return "MiB/s, hot page cache, nothing fsynced\n" + aligned(rows)


def _said(trial: Trial) -> str:
    return "yes" if trial.works else f"no ({trial.answer})"
