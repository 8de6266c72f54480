"""The demonstration runs from beginning to end, and fails where what is read back is not the input."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(600)  # the first time, it installs
def test_the_demonstration_compares_equal(tmp_path: Path) -> None:
    command: list[str | Path] = [ROOT / "tools" / "demo", "--scale", "0.01", "--directory", tmp_path / "demo"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    comparisons = [line for line in completed.stdout.splitlines() if line.endswith(("equal", "DIFFERENT"))]
    assert len(comparisons) == 4
    assert all(line.endswith(" equal") for line in comparisons)
    digests = {
        line.split()[0]
        for line in completed.stdout.splitlines()
        if line.endswith(".arrow") and len(line.split()[0]) == 64
    }
    assert len(digests) == 1
    assert len(list((tmp_path / "demo" / "spills").iterdir())) >= 4
