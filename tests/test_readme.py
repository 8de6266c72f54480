"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    completed = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.endswith("[2 0 0 2 0 4 0 0] 4\n")


def test_every_file_that_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert links
    assert all((README.parent / link).exists() for link in links)
