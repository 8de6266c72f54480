"""What the tests of publication begin with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(params=["unnamed", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every law holds with unnamed files and where Python knows none, as on macOS."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A name in a directory of its own, where nothing but that name may be left."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    yield directory / "output.arrow"
    assert set(os.listdir(directory)) <= {"output.arrow"}
