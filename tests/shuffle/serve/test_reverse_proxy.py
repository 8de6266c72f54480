"""The operating guide's configuration of nginx, as it stands there, in front of a server."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import PartitionClient
from shuffle.client import Place
from spill_format import SpillFile
from tests.helpers.servers import BOUND_SECONDS, Authority, running, wait_until

pytestmark = pytest.mark.process
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
GUIDE = Path(__file__).parents[3] / "shuffle" / "docs" / "operating.md"


@pytest.fixture
def proxy(shared_root: Path, tmp_path: Path, authority: Authority) -> Iterator[int]:
    """The port of nginx, in front of a server with an access log."""
    if NGINX is None:
        pytest.skip("needs nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (site,) = re.findall(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for written, here in (
        ("/run/shuffle.sock", f"{tmp_path}/sock"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/files.example.pem", str(authority.certificate)),
        ("/etc/nginx/files.example.key", str(authority.certificate)),
    ):
        assert site.count(written) == 1
        site = site.replace(written, here)
    places = " ".join(f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/errors; events {{}} http {{ access_log off; {places}\n"
        f"{site}}}\n"
    )
    if os.geteuid() == 0:  # or nginx would take another user, who cannot look into this directory
        with (tmp_path / "nginx.conf").open("a") as configuration:
            configuration.write("user root;\n")
    command = [NGINX, "-e", f"{tmp_path}/errors", "-c", f"{tmp_path}/nginx.conf"]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    options = ("--unix", f"{tmp_path}/sock", "--allow-host", "files.example", "--access-log", f"{tmp_path}/log")
    with running(shared_root, *options), subprocess.Popen(command) as nginx:
        try:
            wait_until((tmp_path / "pid").read_text)  # empty since the test of its configuration
            yield port
        finally:
            nginx.terminate()
            nginx.wait(BOUND_SECONDS)


def test_partitions_come_through_nginx_as_they_are(
    proxy: int, shared_root: Path, tmp_path: Path, authority: Authority
) -> None:
    url = f"https://127.0.0.1:{proxy}"
    with PartitionClient(authority=authority.root) as client, SpillFile(shared_root / "a.arrow") as spill:
        assert client.read(f"{url}/a.arrow", 2, 6) == spill.read(2, 6)
        places = [Place.of(f"{url}/a.arrow", partition) for partition in range(6)]
        assert [fetched.table for fetched in client.read_many(places)] == [spill.read(each) for each in range(6)]
        client.save(f"{url}/deep/large.arrow", 1, 2, tmp_path / "large.arrows")
    with SpillFile(shared_root / "deep" / "large.arrow") as large:
        assert pa.ipc.open_stream(tmp_path / "large.arrows").read_all() == large.read(1)


def test_nginx_gives_requests_a_name_and_an_identity(proxy: int, tmp_path: Path, authority: Authority) -> None:
    identities = set[str]()
    connection = http.client.HTTPSConnection("127.0.0.1", proxy, context=authority.context(), timeout=BOUND_SECONDS)
    for fields, status in (({}, 200), ({"Range": "bytes=8-15"}, 206), ({"Host": "evil.example"}, 421)):
        connection.request("GET", "/a.arrow/partitions/2", headers={"Host": "files.example", **fields})
        response = connection.getresponse()
        content = response.read()
        assert (response.status, len(content) == 8) == (status, status == 206)
        identities |= set(re.findall("^[0-9a-f]{32}$", response.headers["X-Request-ID"]))
    connection.close()
    assert len(identities) == 3
    wait_until(lambda: identities <= set((tmp_path / "log").read_text().split()))
