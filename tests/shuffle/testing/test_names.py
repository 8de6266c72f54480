"""What ``shuffle.testing`` offers by name, imported when it is first used."""

import subprocess
import sys

import pytest

import shuffle.testing


def test_every_name_is_there() -> None:
    assert sorted(shuffle.testing.__all__) == sorted(shuffle.testing._LAZY)
    assert [name for name in shuffle.testing.__all__ if not hasattr(shuffle.testing, name)] == []


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match=r"module 'shuffle\.testing' has no attribute 'assert_sorted'"):
        _ = shuffle.testing.assert_sorted


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import shuffle.testing", {"numpy", "pyarrow", "hypothesis", "pytest"}),
        ("from shuffle.testing import ScriptedKernel", {"numpy", "pyarrow", "hypothesis", "pytest"}),
        ("from shuffle.testing import *", {"hypothesis"}),
        ("import shuffle.testing; shuffle.testing.strategies.tables", {"pytest"}),
    ],
)
def test_nothing_is_imported_before_it_is_used(statement: str, absent: set[str]) -> None:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert absent.intersection(completed.stdout.split()) == set()
