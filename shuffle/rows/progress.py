"""How a caller watches work of several stages, whose lengths are known only when each begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

Stage: TypeAlias = Callable[[int | None, str, str], AbstractContextManager[Callable[[int], None]]]
"""Begins a stage of a length (None: unknown), a unit and a name; yields the function that is told each step."""


@contextmanager
def unwatched(total: int | None, unit: str, description: str) -> Iterator[Callable[[int], None]]:
    """A stage that nobody watches."""
    del total, unit, description
    yield lambda _count: None
