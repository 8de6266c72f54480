"""``shuffle fetch``: partitions from a server, as an Arrow stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, SECONDS, Partitions, debug_option
from shuffle.cli.secrets import token_option
from shuffle.cli.terminal import say, standard_output
from shuffle.http_options import FetchOptions
from shuffle.numbering import Numbers
from shuffle.wording import sized

_DEFAULTS = FetchOptions()

_SECTIONS = {
    "Rows": ["partitions", "validate"],
    "Output": ["target", "overwrite"],
    "Access": ["token_file", "authority", "certificate", "key"],
    "Patience": ["attempts", "timeout_seconds"],
}


@click.command(
    "fetch",
    cls=Command,
    sections=_SECTIONS,
    context_settings=CONTEXT_SETTINGS,
    short_help="Fetch partitions from a server.",
    epilog="""\b
Examples:
  shuffle fetch http://host:8080/map-0.arrow -p 3-6 -o some.arrows
  shuffle fetch http://host:8080/map-0.arrow/partitions/3 | python reduce.py
""",
)
@click.argument("url")
@click.option(
    "-p",
    "--partition",
    "partitions",
    type=Partitions(neighbours=True),
    metavar="N|N-M",
    help="One partition, or several (3-6 are 3, 4, 5 and 6), unless the URL names them.",
)
@click.option("-o", "--output", "target", metavar="OUT", type=PATH, help="Write a file instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@token_option("File with the bearer token that the server asks for.")
@click.option(
    "--authority", type=PATH, metavar="PEM", help="CA certificates that verify the server.  [default: the system's]"
)
@click.option(
    "--certificate", type=PATH, metavar="PEM", help="Certificate that identifies you; PEM may hold its key, too."
)
@click.option("--key", type=PATH, metavar="PEM", help="The certificate's key.")
@click.option(
    "--attempts",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Failures in a row, without a new byte, before giving up.  [default: {_DEFAULTS.attempts}]",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=SECONDS,
    metavar="S",
    help=f"Seconds without a new byte after which a request has failed.  [default: {_DEFAULTS.timeout_seconds:g}]",
)
@click.option(
    "--validate/--no-validate",
    default=True,
    help="Check all values that arrive (offsets, UTF-8), or trust the server's files.  [default: --validate]",
)
@click.option("--quiet", is_flag=True, help="Print nothing but data, warnings and errors.")
@debug_option
def command(
    url: str,
    *,
    partitions: Numbers | None,
    target: str | None,
    overwrite: bool,
    quiet: bool,
    token_file: str | None,
    **chosen: Any,
) -> None:
    """Fetch partitions of the file that a server has at URL, as an Arrow stream on stdout or in a file OUT.

    A download that breaks off is resumed where it broke. OUT appears whole and checked, or not at all. On stdout each
    message appears once it is checked. If the command fails, what it wrote ends within a message: readers of the
    stream report an error, and never take a part for the whole.
    """
    from shuffle.client import PartitionClient, Place

    place = Place.parse(url)
    if (place is None) == (partitions is None):
        raise click.UsageError("name partitions either in the URL or with -p")
    if overwrite and target is None:
        raise click.UsageError("--overwrite is for -o", click.get_current_context())
    if place is None:
        assert partitions is not None  # by the line above
        place = Place.of(url, *partitions[0])
    file_url = f"{place.host}{place.file_path}"
    if token_file is not None:
        chosen["token"] = Path(token_file)
    options = FetchOptions(**{name: value for name, value in chosen.items() if value is not None})
    with PartitionClient(options) as client:
        if target is None:
            stdout = standard_output()
            if stdout.isatty():
                raise click.ClickException("an Arrow stream is not for terminals: give -o OUT, or pipe it")
            client.pipe(file_url, place.start, place.stop, stdout)
            return
        byte_count = client.save(file_url, place.start, place.stop, target, overwrite=overwrite)
    if not quiet:
        say(f"{target}: {sized(byte_count)} from {place.url}")
