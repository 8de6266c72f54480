"""The page for people, in a browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.servers import BOUND_SECONDS, Server, running
from tests.helpers.spills import random_spill

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def shown(url: str, profile: Path) -> str:
    """The page at a URL as the browser has it once its script has run."""
    completed = subprocess.run(
        [CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return completed.stdout


def text_of(document: str, identifier: str) -> str:
    (content,) = re.findall(rf'id="{identifier}"[^>]*>(.*?)</(?:p|table|span)>', document, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", content)).strip()


def test_files_sizes_and_skew_are_shown(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    random_spill(root / "a <b>skewed.arrow", [100, 100, 0, 5000, 100, 100, 100, 100])
    random_spill(root / "even.arrow", [10] * 3000)
    (root / "z.arrow").write_bytes((root / "even.arrow").read_bytes()[:-1])
    with running(root) as server:
        document = shown(f"{server.url}/", tmp_path / "profile")
    assert text_of(document, "state").startswith("3 files, ")
    files = text_of(document, "files")
    assert "a <b>skewed.arrow" in files  # text, not markup
    assert "3,000" in files
    assert "cut off" in files
    assert "8 partitions" in text_of(document, "summary")
    assert text_of(document, "skew") == "1 skewed: more than 2 times the average."
    assert len(re.findall(r"<rect", document)) == 8
    assert len(re.findall(r'<rect[^>]*class="skewed"', document)) == 1


def test_the_page_needs_no_token_and_shows_nothing_without(shared_root: Path, tmp_path: Path) -> None:
    with running(shared_root, SHUFFLE_TOKEN="open-sesame") as server:
        document = shown(f"{server.url}/", tmp_path / "profile")
    assert text_of(document, "state") == "This server wants a token."
    assert "a.arrow" not in document


def test_the_page_is_for_browsers_alone(server: Server) -> None:
    request = urllib.request.Request(f"{server.url}/", headers={"Accept": "text/html,*/*"})
    with urllib.request.urlopen(request, timeout=BOUND_SECONDS) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    with urllib.request.urlopen(f"{server.url}/", timeout=BOUND_SECONDS) as response:
        assert response.headers["Content-Type"].startswith("application/json")
