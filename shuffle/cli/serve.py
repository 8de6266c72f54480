"""``shuffle serve``: partitions of the files below a directory over HTTP."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, get_args

import click
from click.core import ParameterSource

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, SECONDS, Function, Size, debug_option
from shuffle.cli.secrets import token_option
from shuffle.cli.terminal import InterruptedBySignalError, log_format
from shuffle.http_options import ServeOptions
from shuffle.options import TransferTo
from shuffle.warning import warn

_DEFAULTS = ServeOptions(transfer_to="auto")
_SECTIONS = {
    "Where it listens": ("host", "port", "unix_path", "workers"),
    "Who may read": ("token_file", "allow_hosts", "certificate", "key", "client_authority"),
    "Limits, of each worker": (
        "connections",
        "address_connections",
        "sends",
        "queue_seconds",
        "header_seconds",
        "idle_seconds",
        "grace_seconds",
        "open_files",
        "layout_bytes",
        "bytes_in_flight",
    ),
    "What is logged": ("access_log", "access_log_format"),
    "Copying": ("transfer_to",),
}


def _seconds(name: str, text: str) -> Callable[[Function], Function]:
    default = getattr(_DEFAULTS, name)
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, type=SECONDS, metavar="S", help=f"{text}  [default: {default:g}]")


def _count(name: str, text: str) -> Callable[[Function], Function]:
    default = getattr(_DEFAULTS, name)
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, type=click.IntRange(min=1), metavar="N", help=f"{text}  [default: {default}]")


def _size(name: str, text: str) -> Callable[[Function], Function]:
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, type=Size(1 << 20), metavar="SIZE", help=f"{text}  [default: 64MiB]")


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
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 is any free one.")
@click.option("--unix", "unix_path", type=PATH, metavar="PATH", help="Listen at a unix socket instead.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes that share the address; each has its own limits.",
)
@click.option(
    "--transfer-to",
    type=click.Choice(get_args(TransferTo)),
    help="Send inside the kernel (sendfile). auto: where the kernel can; on: always, or report an error; off: never.  "
    "[default: $SHUFFLE_TRANSFER_TO, or auto]",
)
@token_option("File of bearer tokens, one a line; paths after a token limit the token to files below these paths.")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name by which clients may call this server, besides this machine's own; * is any. May be repeated.",
)
@click.option(
    "--certificate", type=PATH, metavar="PEM", help="Use TLS with this certificate; the file may contain its key, too."
)
@click.option("--key", type=PATH, metavar="PEM", help="The certificate's key.")
@click.option(
    "--client-authority",
    type=PATH,
    metavar="PEM",
    help="CA certificates; a client needs a certificate that one of them signed.",
)
@_count("connections", "Connections open at a time; a further connection gets 503.")
@_count("address_connections", "Connections open at a time from one address; a further connection gets 503.")
@_count("sends", "Answers sent at a time; a further answer waits for its turn.")
@_seconds("queue_seconds", "Seconds an answer waits for its turn; then the client gets 503 with Retry-After.")
@_seconds("header_seconds", "Seconds in which a request must arrive; then the connection is closed.")
@_seconds("idle_seconds", "Seconds without the client taking any byte of an answer; then the connection is reset.")
@_seconds("grace_seconds", "Seconds to finish answers when the server is stopped.")
@_count("open_files", "Files kept open between requests.")
@_size("layout_bytes", "Memory for the layouts of the files kept open.")
@_size("bytes_in_flight", "Memory for all answers that are sent without sendfile.")
@click.option("--access-log", metavar="FILE", help="Append a line for each request to FILE; - is stderr.")
@click.option(
    "--access-log-format",
    type=click.Choice(["common", "json"]),
    default="common",
    show_default=True,
    help="Format of the access log.",
)
@debug_option
def command(root: str, *, host: str, port: int, unix_path: str | None, workers: int, **chosen: Any) -> int:
    """Serve the partitioned files below the directory ROOT until Ctrl-C or SIGTERM.

    The command prints its URL first. GET / lists the files, as a page in a browser; /FILE is the layout of a file;
    /FILE/partitions/3-6 gives its partitions 3 to 6 as an Arrow stream. /metrics is for Prometheus; /healthz tells
    whether the server sees ROOT, /readyz also whether it has room for more connections.

    The first signal lets answers finish; a second one ends them. SIGHUP reads tokens and certificates again. Sockets
    that systemd opened are taken instead of --host and --port.
    """
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if unix_path is not None and given & {"host", "port"}:
        raise click.UsageError("--unix or --host and --port, not both", context)
    if "access_log_format" in given and chosen["access_log"] is None:
        raise click.UsageError("--access-log-format is for --access-log", context)
    chosen["allow_hosts"] = (host, *chosen["allow_hosts"])
    options = ServeOptions(**{name: value for name, value in chosen.items() if value is not None})
    try:
        from shuffle.serve.listening import is_loopback, listening_sockets, unix_socket, url_of
        from shuffle.serve.systemd import inherited_sockets

        shared = inherited_sockets() or ([unix_socket(unix_path)] if unix_path is not None else [])
        sockets = [shared or listening_sockets(host, port, shared=workers > 1)]
        url = url_of(sockets[0][0], secure=options.certificate is not None)
        for _ in range(1, workers):
            sockets.append(shared or listening_sockets(host, sockets[0][0].getsockname()[1], shared=True))
        if not all(map(is_loopback, sockets[0])):
            _warn_of_openness(url, options)
        _log_to_stderr()
        signal_number = _serve(root, sockets, options, lambda: click.echo(url))
    except ModuleNotFoundError as error:
        raise click.ClickException(f"serving needs {error.name}: pip install 'shuffle-merge[serve]'") from error
    raise InterruptedBySignalError(signal_number)


def _log_to_stderr() -> None:
    """Print what the server logs as other commands print warnings: a line each, even where a file's name has two."""
    handler = logging.StreamHandler()
    handler.setFormatter(log_format("shuffle: %(message)s"))
    logger = logging.getLogger("shuffle")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _serve(root: str, sockets: list[list[socket.socket]], options: ServeOptions, announce: Callable[[], None]) -> int:
    if len(sockets) > 1:
        from shuffle.serve.workers import serve_with_workers

        return serve_with_workers(root, sockets, options, announce)
    from shuffle.serve.server import serve

    return serve(root, sockets[0], options, announce)


def _warn_of_openness(url: str, options: ServeOptions) -> None:
    has_token = options.token is not None or options.token_file is not None
    if not has_token and options.client_authority is None:
        warn(f"anyone who can connect to {url} can read all files below ROOT: see --token-file and --client-authority")
    elif has_token and options.certificate is None:
        warn(f"clients send their tokens to {url} unencrypted: see --certificate")
