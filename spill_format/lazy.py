"""Public names that are imported when they are first used, as the stub ``__init__.pyi`` beside a package lists them.

The stub is what editors and type checkers read, so that each name stands in one place.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_IMPORT = re.compile(r"^from (\S+) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)


def public_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return a package's ``__getattr__``, ``__dir__`` and ``__all__``.

    Args:
        package: its ``__name__``.
        file: its ``__file__``; the stub beside it has lines as ``from .reader import SpillFile as SpillFile``.
    """
    modules = {
        name: module
        for module, several, single in _IMPORT.findall(Path(file).with_suffix(".pyi").read_text())
        for name in re.findall(r"\w+ as (\w+)", several or single)
    }
    names = sorted(modules)

    def get(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("shuffle-merge")
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(modules[name], package)
        return getattr(module, name)

    return get, lambda: names, names
