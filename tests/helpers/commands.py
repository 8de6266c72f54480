"""The commands as their users run them: in a directory, with what they print and how they end."""

import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

from shuffle.cli import main, merge_main

SCRIPTS = Path(sys.executable).parent
"""Where the console scripts of this environment are."""

_NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def command_line(command: str) -> list[str]:
    """``command``, whose first word is a console script, as arguments for a process."""
    script, *arguments = shlex.split(command)
    return [str(SCRIPTS / script), *arguments]


def run(command: str, directory: Path, **environment: str) -> CompletedProcess[str]:
    """Run a command in this process, with files for stdout and stderr.

    Args:
        command: begins with ``shuffle`` or ``shuffle-merge``; its words are split as a shell does.
        directory: the working directory.
        environment: variables to add.
    """
    script, *arguments = shlex.split(command)
    with (
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
        chdir(directory),
        mock.patch.dict(os.environ, environment_with(**environment), clear=True),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        logger = logging.getLogger("shuffle")  # whose handlers a server sets for as long as its process lives
        handlers, level = logger.handlers[:], logger.level
        try:
            code = {"shuffle": main, "shuffle-merge": merge_main}[script](arguments)
        finally:
            logger.handlers[:] = handlers
            logger.setLevel(level)
        for stream in (stdout, stderr):
            stream.seek(0)
        return CompletedProcess(command, code, stdout.read(), stderr.read())


def run_process(
    command: str, directory: Path, *, obey_permissions: bool = False, **environment: str
) -> CompletedProcess[str]:
    """Run a command in a process of its own, in which permissions can hold for root, too."""
    prefix: Sequence[str] = _NO_OVERRIDE if obey_permissions and os.geteuid() == 0 else ()
    return subprocess.run(
        [*prefix, *command_line(command)],
        cwd=directory,
        env=environment_with(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def environment_with(**variables: str) -> dict[str, str]:
    """The environment of this process without what would change what commands do, and with more variables."""
    inherited = {name: value for name, value in os.environ.items() if name != "SHUFFLE_TRANSFER_TO"}
    return {**inherited, **variables}


def succeeded(command: str, directory: Path) -> str:
    """The stdout of a command that must end with exit code 0 and print nothing on stderr but its line of success."""
    completed = run(command, directory)
    assert completed.returncode == 0, completed.stderr
    assert len(completed.stderr.splitlines()) <= 1, completed.stderr
    return completed.stdout


def json_of(command: str, directory: Path) -> Any:
    """What a command that must succeed prints as JSON."""
    return json.loads(succeeded(command, directory))


def error_of(completed: CompletedProcess[str]) -> str:
    """The error that a command ended with: one line on stderr, nothing on stdout, exit code 2."""
    assert completed.returncode == 2, completed
    assert completed.stdout == ""
    (line,) = completed.stderr.splitlines()
    program, _, message = line.partition(": error: ")
    assert program in {"shuffle", "shuffle-merge"}, line
    return message


def files_below(directory: Path) -> dict[str, bytes]:
    """Names and contents of all files, hidden ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }
