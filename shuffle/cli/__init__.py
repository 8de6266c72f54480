"""The commands ``shuffle`` and ``shuffle-merge``: parsing of arguments, progress bars, exit codes; nothing else.

One module a command, imported when it is asked for, so that none waits for what only another needs.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import click

# Before numpy is imported: it would start a thread a core for linear algebra, of which there is none here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from shuffle.cli.options import CONTEXT_SETTINGS, debug_option, version_option
from shuffle.cli.terminal import EXIT_ERROR, run

COMMANDS = ("merge", "partition", "inspect", "verify", "repair", "diff", "read", "doctor", "serve", "fetch")
"""Each is the attribute ``command`` of the module of its name, in the order in which the help lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``shuffle``, with the process's arguments by default; the exit code."""
    return run(shuffle, "shuffle", arguments)


def merge_main(arguments: Sequence[str] | None = None) -> int:
    """Run ``shuffle-merge``, which is ``shuffle merge``; the exit code."""
    from shuffle.cli.merge import command

    return run(command, "shuffle-merge", arguments)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are first asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"shuffle.cli.{cmd_name}").command
        return command


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings=CONTEXT_SETTINGS,
    epilog="""\b
Completion of commands, options and files, for this shell:
  eval "$(_SHUFFLE_COMPLETE=bash_source shuffle)"
  eval "$(_SHUFFLE_MERGE_COMPLETE=bash_source shuffle-merge)"
With zsh: zsh_source. With fish: _SHUFFLE_COMPLETE=fish_source shuffle | source
""",
)
@version_option
@debug_option
@click.pass_context
def shuffle(context: click.Context) -> None:
    """A shuffle for Arrow data: partition rows, merge spill files, look into them, read partitions back.

    Data goes to stdout, everything else to stderr. Exit codes: 0 done; 1 a check found damage, a loss or a difference;
    2 wrong usage or an error, told in one line.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_ERROR)
