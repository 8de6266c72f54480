"""Whether ``tools/mutate`` sees what tests do not see."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULE = """\
def at_most(value: int, most: int) -> int:
    if most < 0:
        raise ValueError(most)
    return value if value < most else most
"""
EXPLAINED = """\
| `tiny.py` | `if most < 0:` | `0 → 1` | A reason. |
| `tiny.py` | `if most < 0:` | `0 → 2` | Nothing makes this. |
"""
ANSWER = """\
tiny.py:2: if most < 0: | most < 0 → most <= 0
tiny.py:4: return value if value < most else most | value < most → value <= most
tests/mutants.md: tiny.py has no mutant: if most < 0: | 0 → 2
tiny.py: 7 mutants: 4 killed, 1 explained, 2 left
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_mutant_is_left_where_no_test_fails(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(MODULE)
    (tmp_path / "test_tiny.py").write_text(
        "import pytest\nfrom tiny import at_most\n\n"
        "def test_the_smaller_one_is_returned():\n    assert (at_most(1, 2), at_most(2, 1)) == (1, 1)\n\n"
        "def test_a_negative_limit_is_refused():\n    with pytest.raises(ValueError):\n        at_most(1, -1)\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "mutants.md").write_text(EXPLAINED)
    command = [sys.executable, str(ROOT / "tools" / "mutate"), "tiny.py", "test_tiny.py"]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (completed.stdout, completed.returncode) == (ANSWER, 1), completed.stderr
    assert (tmp_path / "tiny.py").read_text() == MODULE
