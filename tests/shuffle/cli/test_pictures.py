"""Pictures of partition sizes: of the kind asked for, whole, self-contained, for any number of partitions and files."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.helpers.commands import error_of, run, run_process, succeeded
from tests.helpers.spills import random_spill, random_spills

SKEWED_RED = (0xCC, 0x33, 0x11)


def pixels_of(path: Path) -> np.ndarray:
    """``uint8[height, width, 3]``."""
    image = matplotlib.image.imread(io.BytesIO(path.read_bytes()), format="png")
    return np.asarray(np.round(image[..., :3] * 255), dtype=np.uint8)


def has_red(path: Path) -> bool:
    return bool((pixels_of(path) == SKEWED_RED).all(axis=-1).sum() > 20)


@pytest.mark.parametrize(
    ("rows", "is_skewed"),
    [
        ([50], False),
        ([0, 0, 0], False),
        ([500] * 10, False),
        ([500] * 9 + [90_000], True),
        ([1] * 3000, False),
        ([1] * 2999 + [40_000], True),
    ],
    ids=["one", "empty", "ten", "ten, skewed", "many", "many, skewed"],
)
@pytest.mark.parametrize("file_count", [1, 3])
def test_skewed_partitions_are_marked(tmp_path: Path, rows: list[int], is_skewed: bool, file_count: int) -> None:
    random_spills(tmp_path, *[rows] * file_count)
    succeeded("shuffle inspect . --plot sizes.png", tmp_path)
    assert has_red(tmp_path / "sizes.png") == is_skewed


def test_an_svg_is_one(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [10, 20, 30])
    succeeded("shuffle inspect a.spill.arrow --plot sizes.svg --quiet", tmp_path)
    assert ET.parse(tmp_path / "sizes.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_page_has_facts_advice_and_picture_and_loads_nothing(tmp_path: Path) -> None:
    random_spill(tmp_path / "a<b>.spill.arrow", [100] * 999 + [50_000])
    succeeded("shuffle inspect a<b>.spill.arrow --plot sizes.html", tmp_path)
    page = (tmp_path / "sizes.html").read_text()
    assert "<h1>a&lt;b&gt;.spill.arrow</h1>" in page
    assert "<li>skew: 1 partition" in page
    assert "<th>rows</th><td>149,900 in" in page
    assert page.count("<svg") == 1
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)


def test_a_picture_is_drawn_beside_what_is_printed_and_replaces_the_last(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [10, 20, 30])
    (tmp_path / "sizes.png").write_text("the last one")
    assert "partitions    3" in succeeded("shuffle inspect a.spill.arrow --plot sizes.png", tmp_path)
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("a.spill.arrow --plot a.spill.arrow", "must end with .png, .svg, .html"),
        ("a.spill.arrow --plot gone/sizes.png", "No such file or directory"),
        ("a.spill.arrow --json --csv", "--json or --csv, not both"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(tmp_path: Path, arguments: str, words: str) -> None:
    path = random_spill(tmp_path / "a.spill.arrow", [10, 20, 30])
    before = path.read_bytes()
    completed = run(f"shuffle inspect {arguments}", tmp_path)
    assert completed.returncode == 2
    assert words in completed.stderr
    assert path.read_bytes() == before


def test_files_that_do_not_fit_together_are_not_drawn(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [1, 2])
    random_spill(tmp_path / "b.spill.arrow", [1, 2, 3])
    completed = run("shuffle inspect . --plot sizes.png", tmp_path)
    assert completed.returncode == 2
    assert "do not have the same partitions" in completed.stderr
    assert not (tmp_path / "sizes.png").exists()


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.spill.arrow", [1, 2])
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "matplotlib.py").write_text("raise ImportError('as if it were not installed')\n")
    completed = run_process(
        "shuffle inspect a.spill.arrow --plot sizes.png", tmp_path, PYTHONPATH=str(tmp_path / "absent")
    )
    assert error_of(completed) == "pictures need matplotlib: pip install 'shuffle-merge[plot]'"
