"""What the tests of kernels that misbehave merge."""

from pathlib import Path

import pytest

from tests.helpers.spills import random_spills


@pytest.fixture
def spills(tmp_path: Path) -> list[Path]:
    (tmp_path / "spills").mkdir()
    return random_spills(tmp_path / "spills", [10, 0, 30], [0, 20, 10], [5, 5, 5])
