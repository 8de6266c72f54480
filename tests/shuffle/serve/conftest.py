"""What the tests of serving begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spill_format import SpillFile
from tests.helpers.servers import Authority, Server, running
from tests.helpers.spills import random_spill


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files that tests only read: ``a.arrow`` with six small partitions, ``deep/large.arrow`` with more
    than 10 MiB in its partition 1."""
    root = tmp_path_factory.mktemp("root")
    (root / "deep").mkdir()
    random_spill(root / "a.arrow", [30, 0, 500, 7, 0, 2000])
    with SpillFile(random_spill(root / "deep" / "large.arrow", [5, 600_000, 5])) as large:
        start, stop = large.range_of(1)
        assert stop - start > 10 << 20
    (root / "secret.txt").write_text("secret")
    (root.parent / "outside.arrow").write_bytes((root / "a.arrow").read_bytes())
    return root


@pytest.fixture(scope="session")
def server(shared_root: Path) -> Iterator[Server]:
    """A server that tests share, and leave running."""
    with running(shared_root) as shared:
        yield shared


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a server's environment needs for one event loop or the other."""
    if request.param == "uvloop":
        return {}
    hiding = tmp_path_factory.mktemp("hiding")
    (hiding / "uvloop.py").write_text("raise ImportError")
    return {"PYTHONPATH": str(hiding)}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))
