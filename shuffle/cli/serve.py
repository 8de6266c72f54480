"""``shuffle serve``: partitions of the files below a directory over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Function, Size, debug_option
from shuffle.cli.secrets import token_option
from shuffle.cli.terminal import InterruptedBySignalError
from shuffle.options import ServeOptions, TransferTo

_DEFAULTS = ServeOptions(transfer_to="auto")


def _seconds(name: str, text: str) -> Callable[[Function], Function]:
    default = getattr(_DEFAULTS, name)
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, type=float, metavar="S", help=f"{text}  [default: {default:g}]")


def _count(name: str, text: str) -> Callable[[Function], Function]:
    default = getattr(_DEFAULTS, name)
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, type=click.IntRange(min=1), metavar="N", help=f"{text}  [default: {default}]")


_SECTIONS = {
    "Address": ["host", "port"],
    "Access": ["token_file", "certificate", "key", "client_authority"],
    "Limits": ["connections", "sends", "queue_seconds", "bytes_in_flight", "open_files"],
    "Patience": ["header_seconds", "idle_seconds", "grace_seconds"],
    "Copying": ["transfer_to"],
}


@click.command(
    "serve",
    cls=Command,
    sections=_SECTIONS,
    context_settings=CONTEXT_SETTINGS,
    short_help="Serve partitions over HTTP.",
    epilog="""\b
Examples:
  shuffle serve outputs/ --port 8080
  curl -s http://127.0.0.1:8080/map-0.arrow/partitions/3-6 > some.arrows
  shuffle fetch http://127.0.0.1:8080/map-0.arrow -p 3-6 -o some.arrows
""",
)
@click.argument("root", type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 is any free one.")
@click.option(
    "--transfer-to",
    type=click.Choice(get_args(TransferTo)),
    help="sendfile. auto: wherever the kernel has it; on: or else an error; off: never.  "
    "[default: $SHUFFLE_TRANSFER_TO, or auto]",
)
@token_option
@click.option("--certificate", type=PATH, metavar="PEM", help="TLS, with this certificate; PEM may hold its key, too.")
@click.option("--key", type=PATH, metavar="PEM", help="The certificate's key.")
@click.option("--client-authority", type=PATH, metavar="PEM", help="Clients need a certificate from one of these.")
@_count("connections", "How many at a time.")
@_count("sends", "Answers being sent at a time; more wait.")
@_seconds("queue_seconds", "For so long, and are told to come back.")
@click.option(
    "--bytes-in-flight",
    type=Size(1 << 20),
    metavar="SIZE",
    help="Memory of all sends without sendfile.  [default: 64MiB]",
)
@_count("open_files", "Files kept open.")
@_seconds("header_seconds", "For a request to arrive, or a connection to be without one.")
@_seconds("idle_seconds", "For a client to take some more of an answer.")
@_seconds("grace_seconds", "For what is being sent when the server is stopped.")
@debug_option
def command(root: str, *, host: str, port: int, **chosen: Any) -> int:
    """Serve the partitioned files below the directory ROOT until Ctrl-C or SIGTERM.

    The URL is printed first. GET / lists the files, as a page in a browser; /FILE is a file's layout,
    /FILE/partitions/3-6 its partitions 3 to 6 as an Arrow stream; /metrics is for Prometheus, /healthz for those who
    look whether it is there. A signal lets what is being sent finish; a second one does not.
    """
    try:
        from shuffle.serve.server import serve
    except ModuleNotFoundError as error:
        raise click.ClickException(f"serving needs {error.name}: pip install 'shuffle-merge[serve]'") from error
    options = ServeOptions(**{name: value for name, value in chosen.items() if value is not None})
    signal_number = serve(root, host, port, options, _announce)
    raise InterruptedBySignalError(signal_number)


def _announce(url: str) -> None:
    click.echo(url)
