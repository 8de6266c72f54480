"""What the tests of several commands begin with."""

from pathlib import Path

import pytest

from tests.helpers.spills import random_spills


@pytest.fixture
def spills(tmp_path: Path) -> list[Path]:
    """Three spills in the directory ``spills``, in the order of their merge."""
    (tmp_path / "spills").mkdir()
    return random_spills(tmp_path / "spills", [30, 0, 500], [10, 20, 0], [0, 0, 7])
