"""What the project tests itself with, for your own tests. Needs no test framework, but for the conformance suites,
which are classes of tests for pytest.

Names are imported when they are first used: pytest looks into this package for its plugin, in runs that use nothing
of it, too. ``shuffle.testing.strategies`` needs hypothesis.
"""

import importlib
from typing import Any

from spill_format.lazy import public_names

_get, __dir__, __all__ = public_names(__name__, __file__)


def __getattr__(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}") if name == "strategies" else _get(name)
