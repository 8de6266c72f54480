"""What importing a package gives, and what it does not wait for."""

import subprocess
import sys
from types import ModuleType

import pytest

import shuffle.testing
import spill_format

HEAVY = {"numpy", "pyarrow", "hypothesis", "pytest", "spill_format.errors"}


@pytest.mark.parametrize("package", [shuffle, shuffle.testing, spill_format])
def test_a_package_shows_its_public_names_alone(package: ModuleType) -> None:
    assert dir(package) == package.__all__
    assert [name for name in dir(package) if not callable(getattr(package, name)) and name != "Step"] == []
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'sort'"):
        _ = package.sort


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import shuffle, spill_format", HEAVY),
        ("import shuffle.testing", HEAVY),
        ("from shuffle.testing import ScriptedKernel", {"numpy", "pyarrow", "hypothesis", "pytest"}),
        ("from shuffle.testing import *", {"hypothesis"}),
        ("import shuffle.testing; shuffle.testing.strategies.tables", {"pytest"}),
    ],
)
def test_nothing_is_imported_before_it_is_used(statement: str, absent: set[str]) -> None:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert absent.intersection(completed.stdout.split()) == set()
