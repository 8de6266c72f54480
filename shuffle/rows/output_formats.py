"""The formats that rows are written in, and which one a file's name means; ``outputs.py`` writes them."""
# PURE

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A format that rows are written in.

    Attributes:
        suffixes: what names of its files end with.
        is_text: people can read it.
    """

    suffixes: tuple[str, ...]
    is_text: bool = False


FORMATS = {
    "arrow": Format((".arrow", ".feather", ".ipc")),
    "arrows": Format((".arrows",)),
    "parquet": Format((".parquet", ".pq")),
    "csv": Format((".csv",), is_text=True),
    "jsonl": Format((".jsonl", ".ndjson"), is_text=True),
}


def format_of_name(name: str) -> str:
    """Tell the format that a file's name ends with.

    Raises:
        ValueError: the name ends with none of the suffixes.
    """
    for format_name, each in FORMATS.items():
        if name.lower().endswith(each.suffixes):
            return format_name
    known = ", ".join(suffix for each in FORMATS.values() for suffix in each.suffixes)
    raise ValueError(f"{name}: which format is it? Names of outputs end with one of {known}")
