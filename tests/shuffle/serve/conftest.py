"""What the tests of serving begin with."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.shuffle.serve.servers import Server, running
from tests.spills import write_spill


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files that tests only read: ``a.arrow`` with six small partitions, ``deep/large.arrow`` with more
    than 10 MiB in its partition 1."""
    root = tmp_path_factory.mktemp("root")
    (root / "deep").mkdir()
    write_spill(root / "a.arrow", [30, 0, 500, 7, 0, 2000])
    write_spill(root / "deep" / "large.arrow", [5, 600_000, 5])
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


class Authority:
    """A certificate authority, the server's certificate from it, and what clients need."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        issued = self._authority.issue_cert("127.0.0.1")
        self.certificate = directory / "server.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.certificate))
        self.root = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.root))
        self.client = directory / "client.pem"
        self._authority.issue_cert("client@x").private_key_and_cert_chain_pem.write_to_path(str(self.client))
        self.stranger = directory / "stranger.pem"
        trustme.CA().issue_cert("client@x").private_key_and_cert_chain_pem.write_to_path(str(self.stranger))

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        """What a client that trusts the authority connects with."""
        context = ssl.create_default_context(cafile=str(self.root))
        if client is not None:
            context.load_cert_chain(client)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))
