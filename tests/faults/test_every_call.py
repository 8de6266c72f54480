"""Every file-related call of merging and partitioning fails, is short, or meets a signal; ``tools/campaign`` tries all.

Here each 17th fault is tried, and a kill at every call that changes anything. What must hold after a fault is said in
``tests/helpers/fault_scenarios.py``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fault_engine import why_not_here
from tests.helpers.fault_scenarios import SCENARIOS

EACH = 17
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(why_not_here() is not None, reason=str(why_not_here()))


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_any_fault_all_is_done_or_nothing(tmp_path: Path, name: str) -> None:
    arguments = ["-m", "tests.helpers.fault_scenarios", name, str(tmp_path), str(EACH)]
    completed = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert completed.returncode == 0, completed.stderr
    *violations, summary = map(json.loads, completed.stdout.splitlines())
    assert violations == []
    assert summary["calls"] > 50
    assert summary["faults"] > 25
