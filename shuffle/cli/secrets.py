"""How commands are told a bearer token: never on the command line, which every user of a machine can read."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from shuffle.cli.options import PATH, Function

TOKEN_VARIABLE = "SHUFFLE_TOKEN"


def token_option(function: Function) -> Callable[..., Any]:
    """Option --token-file; the command gets what is in it, or in the environment, as ``token``, or None."""

    @click.option(
        "--token-file",
        type=PATH,
        metavar="FILE",
        help=f"A file with the bearer token that requests need.  [default: ${TOKEN_VARIABLE}, or none]",
    )
    @functools.wraps(function)
    def with_token(*arguments: Any, token_file: str | None, **others: Any) -> Any:
        token = os.environ.get(TOKEN_VARIABLE) or None
        if token_file is not None:
            token = Path(token_file).read_text().strip()
        return function(*arguments, token=token, **others)

    return with_token
