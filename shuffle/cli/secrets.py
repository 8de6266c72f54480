"""How commands are told a bearer token: never on the command line, which every user of a machine can read."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from shuffle.cli.options import PATH, Function

TOKEN_VARIABLE = "SHUFFLE_TOKEN"


def token_option(text: str) -> Callable[[Function], Callable[..., Any]]:
    """Option --token-file, with its help.

    The command gets the path as ``token_file``, or None; without the option, what the environment says as ``token``, or
    None.
    """

    def decorate(function: Function) -> Callable[..., Any]:
        @click.option(
            "--token-file",
            type=PATH,
            metavar="FILE",
            help=f"{text}  [default: the token in ${TOKEN_VARIABLE}, or none]",
        )
        @functools.wraps(function)
        def with_token(*arguments: Any, token_file: str | None, **others: Any) -> Any:
            token = os.environ.get(TOKEN_VARIABLE) if token_file is None else None
            if token is not None and not token.strip():
                raise click.UsageError(
                    f"${TOKEN_VARIABLE} is empty, which protects nothing: unset it, or put a token there"
                )
            return function(*arguments, token=token, token_file=token_file, **others)

        return with_token

    return decorate
