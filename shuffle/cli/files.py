"""Which files are meant by the arguments of commands that look into files: files as given, directories by what is in
them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from shuffle.merging.sources import natural_order

_EXTENSION = ".arrow"


def partitioned_files(paths: Sequence[str]) -> list[str]:
    """Files as given, directories as the Arrow files in them (spills as well as outputs), in natural order of their
    names.

    Raises:
        ClickException: a directory holds no such file.
        OSError: a directory cannot be listed.
    """
    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        names = sorted((name for name in os.listdir(path) if name.endswith(_EXTENSION)), key=natural_order)
        if not names:
            raise click.ClickException(f"no Arrow files: looked for *{_EXTENSION} in the directory {path}")
        found += [os.path.join(path, name) for name in names]
    return found
