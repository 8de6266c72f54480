"""Which files are read, from paths, directories and patterns, and which columns the names of directories add.
``inputs.py`` reads what is in the files.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from shuffle.merging.sources import natural_order
from shuffle.rows.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS_BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".ndjson": "json",
    ".ndjson.gz": "json",
}

_NULL_VALUE = "__HIVE_DEFAULT_PARTITION__"  # Hive's and Spark's, and Arrow's default
_INTEGER = re.compile(r"-?\d{1,40}", re.ASCII)  # longer ones are texts anyway


def find_inputs(paths: Sequence[str]) -> list[str]:
    """Find the files that paths stand for.

    A file stands for itself. A directory stands for all files of a known format in it and below, in natural order,
    without names that begin with a dot or an underscore. A path that does not exist and has ``*``, ``?`` or ``[`` is a
    pattern: it stands for all paths that match, in natural order; ``**`` matches any number of directories.

    Raises:
        InputError: a directory holds no such file, a pattern matches nothing, or paths stand for a file twice.
        OSError: a directory cannot be listed.
    """
    found: dict[str, str] = {}
    for path in paths:
        for file in _files_of(path):
            identity = os.path.realpath(file)
            if identity in found:
                as_other = "" if found[identity] == file else f", also as {found[identity]}"
                raise InputError(f"{file}: is given more than once{as_other}; its rows would be, too")
            found[identity] = file
    return list(found.values())


def format_of(files: Sequence[str]) -> str:
    """Tell the format that all names end with, as ``pyarrow.dataset`` calls it.

    Raises:
        InputError: a name ends with no known suffix, or names end with suffixes of several formats.
    """
    formats = {_format_of(file): file for file in reversed(files)}
    if len(formats) > 1:
        (first, file), (second, other), *_ = sorted(formats.items())
        raise InputError(f"inputs of one format are needed: {file} is {first}, {other} is {second}")
    return next(iter(formats))


def directory_columns(files: Sequence[str]) -> pa.Schema:
    """Tell the columns that directories named ``key=value`` make.

    A column is int32 if all its values are such numbers, else int64, else date32 if all values look like 2024-01-31,
    else string.

    Raises:
        InputError: a file's directories have other keys than the first one's.
    """
    import pyarrow as pa

    values: dict[str, list[str]] = {key: [] for key in _pairs(files[0])}
    for file in files:
        pairs = _pairs(file)
        if pairs.keys() != values.keys():
            names = ", ".join(sorted(pairs.keys() ^ values.keys()))
            raise InputError(f"{file}: other directories key=value than of {files[0]}; only one of them has {names}")
        for key, value in pairs.items():
            if value != _NULL_VALUE:
                values[key].append(value)
    return pa.schema([(key, _type_of(texts)) for key, texts in values.items()])


def _pairs(file: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for segment in os.path.dirname(file).split("/"):
        key, sign, value = segment.partition("=")
        if segment == ".." and pairs:
            raise InputError(f"{file}: '..' behind a directory key=value; give the path without it")
        if key and sign:
            pairs.setdefault(unquote(key), unquote(value))  # of two of one key Arrow takes the first
    return pairs


def _type_of(texts: Sequence[str]) -> pa.DataType:
    import pyarrow as pa

    if not texts:
        return pa.string()
    if all(_INTEGER.fullmatch(text) for text in texts):
        widest = max(max(number, -1 - number) for number in map(int, texts))
        return pa.int32() if widest < 1 << 31 else pa.int64() if widest < 1 << 63 else pa.string()
    try:
        pa.array(texts).cast(pa.date32())
    except pa.ArrowInvalid:
        return pa.string()
    return pa.date32()


def _files_of(path: str) -> list[str]:
    if os.path.lexists(path) or not glob.has_magic(path):
        return _files_below(path) if os.path.isdir(path) else [path]
    matches = sorted(glob.glob(path, recursive=True), key=natural_order)
    if not matches:
        raise InputError(f"no input: nothing matches {path}")
    # What ** matches may be in a directory that it matches, too.
    return list(dict.fromkeys(file for match in matches for file in _files_of(match)))


def _files_below(directory: str) -> list[str]:
    found = []
    for place, directories, names in os.walk(directory, onerror=_raise):
        directories[:] = [name for name in directories if not name.startswith((".", "_"))]
        found += [
            os.path.join(place, name)
            for name in names
            if not name.startswith((".", "_")) and _suffix_of(name) is not None
        ]
    if not found:
        known = ", ".join(f"*{suffix}" for suffix in FORMATS_BY_SUFFIX)
        raise InputError(f"no input: looked for {known} in the directory {directory}")
    return sorted(found, key=natural_order)


def _raise(error: OSError) -> None:
    raise error


def _suffix_of(name: str) -> str | None:
    return next((suffix for suffix in FORMATS_BY_SUFFIX if name.lower().endswith(suffix)), None)


def _format_of(file: str) -> str:
    suffix = _suffix_of(file)
    if suffix is None:
        known = ", ".join(FORMATS_BY_SUFFIX)
        raise InputError(f"{file}: what format is it? The names of inputs end with one of {known}")
    return FORMATS_BY_SUFFIX[suffix]
