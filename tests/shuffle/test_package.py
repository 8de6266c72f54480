"""What ``import shuffle`` gives, and what it does not wait for."""

import subprocess
import sys

import pytest

import shuffle


def test_every_name_is_there() -> None:
    assert [name for name in shuffle.__all__ if not callable(getattr(shuffle, name))] == []


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="module 'shuffle' has no attribute 'sort'"):
        _ = shuffle.sort


def test_importing_the_package_imports_nothing_of_weight() -> None:
    script = "import shuffle, sys; print(*({'numpy', 'pyarrow', 'spill_format'} & set(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert completed.stdout.split() == []
