"""Kinds of options: sizes, counts, seconds, flags; how a value is checked, and how keywords become an options object.

Nothing here knows any option; they are in ``options.py``.
"""
# PURE

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from operator import index
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Options = TypeVar("Options", bound=DataclassInstance)

MINIMUM_MEMORY_BYTES = 1 << 20

_SIZE = re.compile(r"(?P<number>\d{1,18}(?:\.\d{1,18})?)\s*(?P<unit>[a-z]*)", re.ASCII)
_UNITS = {"": 1, "b": 1} | {
    spelling: 1 << 10 * power for power, letter in enumerate("kmgt", start=1) for spelling in (letter, f"{letter}ib")
}


def parse_size(value: object) -> int:
    """Parse a size: a whole number, or text such as ``"1048576"``, ``"256MiB"``, ``"64M"``, ``"1g"``.

    Units are powers of 1024, in any case; ``MB``, which is a power of 1000 for some, is refused.

    Raises:
        ValueError: the value is not a size, or not a whole number of bytes.
    """
    if not isinstance(value, str):
        return _whole(value, f"{value!r} is not a size: give bytes, or text with KiB, MiB, GiB or TiB, as in '256MiB'")
    match = _SIZE.fullmatch(value.strip().lower())
    if match is None or match["unit"] not in _UNITS:
        raise ValueError(f"{value!r} is not a size: give bytes, or a number with KiB, MiB, GiB or TiB, as in 256MiB")
    number, unit_bytes = match["number"], _UNITS[match["unit"]]
    byte_count = float(number) * unit_bytes if "." in number else int(number) * unit_bytes
    if byte_count != int(byte_count):
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(byte_count)


def options_of(kind: type[Options], options: Options | None, keywords: Mapping[str, Any]) -> Options:
    """Make the options of a call from an object, from keywords, or from an object that keywords change.

    Raises:
        TypeError: the object is not of this kind, or a keyword is not the name of an option.
        ValueError: an option is out of its bounds, or contradicts another one.
    """
    if options is not None and not isinstance(options, kind):
        raise TypeError(f"options must be a {kind.__name__}, not {options!r}")
    names = [each.name for each in fields(kind)]
    for name in keywords:
        if name not in names:
            raise TypeError(f"there is no option {name!r} here; the options are {', '.join(names)}")
    return kind(**keywords) if options is None else replace(options, **keywords)


def check_size(name: str, value: object, least: int = 1) -> int:
    """Check an option that is a size, and return its bytes. ValueError or TypeError names the option."""
    try:
        byte_count = parse_size(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if byte_count < least:
        raise ValueError(f"{name} must be {least} bytes or more, not {value}")
    return byte_count


def several(name: str, value: Any) -> tuple[Any, ...]:
    """Check an argument that takes several items, and return them. TypeError, which names it, for a single one."""
    if isinstance(value, (str, bytes)) or hasattr(value, "__fspath__") or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} takes several, in a list: not {value!r}")
    return tuple(value)


def check_count(name: str, value: object) -> int:
    """Check an option that counts from 1 on, and return it. ValueError or TypeError names the option."""
    count = _whole(value, f"{name} must be a whole number, not {value!r}")
    if count < 1:
        raise ValueError(f"{name} must be 1 or more, not {count}")
    return count


def _whole(value: Any, problem: str) -> int:
    if isinstance(value, bool):
        raise TypeError(problem)
    try:
        return index(value)
    except TypeError:
        raise TypeError(problem) from None


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be more than 0 and finite, not {value}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r}")
    return value


def check_path(name: str, value: object) -> object:
    """Check an option that is a path, and return it. TypeError names the option."""
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise TypeError(f"{name} must be a path, not {value!r}")
    return value


def check_paths(name: str, value: object) -> tuple[object, ...]:
    """Check an option that is several paths, and return them. TypeError names the option."""
    return tuple(check_path(name, item) for item in several(name, value))


def _texts(name: str, value: object) -> tuple[str, ...]:
    return tuple(_text(name, item) for item in several(name, value))


Text = Annotated[str, _text]
Texts = Annotated[Sequence[str], _texts]
Flag = Annotated[bool, _flag]
Count = Annotated[int, check_count]
Seconds = Annotated[float, _seconds]
Size = Annotated[int, check_size]
Memory = Annotated[int, functools.partial(check_size, least=MINIMUM_MEMORY_BYTES)]
"""Kinds of options: each names the function that checks a value and makes it the type."""


@functools.cache
def _checks(kind: type[DataclassInstance]) -> list[tuple[str, Callable[[str, object], object], bool]]:
    """The name, the check and whether None is allowed, for each option that is of one of the kinds above."""
    return [
        (name, part.__metadata__[0], NoneType in get_args(hint))
        for name, hint in get_type_hints(kind, include_extras=True).items()
        for part in (hint, *get_args(hint))
        if hasattr(part, "__metadata__")
    ]


def check_options(options: DataclassInstance) -> None:
    """Check every option by its kind, and put what the check makes of it in its place."""
    for name, check, may_be_none in _checks(type(options)):
        value = getattr(options, name)
        if value is not None or not may_be_none:
            object.__setattr__(options, name, check(name, value))


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise ValueError, which names the option and the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")
