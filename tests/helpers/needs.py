"""What a test needs of the machine, found in what it uses: mounts, a Java runtime, a browser, processes.

A need is found by name, in the code of the test, of its fixtures and parameters, and of the tests' own functions that
these call. What is found nowhere in the code needs a marker that is written at the test.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, MethodType
from typing import Any

import pytest

NAMES = {
    "process": {"subprocess", "multiprocessing", "ProcessPoolExecutor", "fork", "pty"},
    "mount": {
        "reflink_dir",
        "xfs_dir",
        "btrfs_dir",
        "ext4_dir",
        "small_ext4_dir",
        "tmpfs_dir",
        "loop_mounted",
        "tmpfs_mounted",
    },
    "java": {"pyspark", "SparkSession"},
    "browser": {"CHROMIUM"},
}
"""Which names in code show which need."""


def needs_of(item: pytest.Item) -> set[str]:
    """The markers that a test needs."""
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs if hasattr(item, "_fixtureinfo") else {}  # noqa: B009
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    begun = {getattr(item, "function", None), *(each.func for found in fixtures.values() for each in found)}
    named = {each for each in parameters if isinstance(each, str)}  # a fixture that is asked for by its name
    used = {*fixtures, *named, *_names_used([*parameters])}.union(*map(_names_of, begun))
    return {need for need, names in NAMES.items() if used & names}


@cache
def _names_of(function: object) -> frozenset[str]:
    return frozenset(_names_used([function]))


def _names_used(things: list[Any]) -> Iterator[str]:
    """The names in the code of functions and classes of the tests, and of those whom they call."""
    seen: set[int] = set()
    while things:
        thing = inspect.unwrap(things.pop())
        if isinstance(thing, MethodType):
            thing = thing.__func__
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, tuple | list):
            things += thing
            things += [type(thing)] if type(thing).__module__.startswith("tests") else []
        elif isinstance(thing, dict):
            things += thing.values()
        elif isinstance(thing, type):
            things += [member for member in vars(thing).values() if isinstance(member, FunctionType)]
        elif isinstance(thing, FunctionType):
            names = set(_names_in(thing.__code__))
            yield from names
            found = [thing.__globals__.get(name) for name in names]
            found += [cell.cell_contents for cell in thing.__closure__ or () if cell != type(cell)()]
            things += [each for each in found if getattr(each, "__module__", "").startswith("tests")]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
