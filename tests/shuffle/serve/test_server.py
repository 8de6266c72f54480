"""Answers of a real server to real clients."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from crc32c import crc32c

from shuffle import PartitionServer, ServeOptions
from shuffle.wire import STREAM_TYPE
from spill_format import SpillFile
from spill_format.stream import ranges_within
from tests.helpers.servers import BOUND_SECONDS, Authority, Server, get, running, wait_until
from tests.helpers.spills import random_spill

PLACES = [(first, last) for first in range(6) for last in range(first, 6)]


def open_url(url: str, method: str = "GET", **headers: str) -> Any:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(url, headers=renamed, method=method), timeout=BOUND_SECONDS)


def answer(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    try:
        with open_url(url, method, **headers) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def written(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


@pytest.fixture(scope="module", params=["sendfile", "buffered", "TLS"])
def any_server(
    request: pytest.FixtureRequest, shared_root: Path, authority: Authority, loop_environment: dict[str, Any]
) -> Iterator[tuple[Server, ssl.SSLContext | None]]:
    """A server that sends in one of the three ways, on either event loop, and the TLS context for it."""
    if request.param == "TLS":
        with running(shared_root, "--certificate", str(authority.certificate), **loop_environment) as server:
            yield server, authority.context()
        return
    transfer_to = "on" if request.param == "sendfile" else "off"
    with running(shared_root, "--transfer-to", transfer_to, **loop_environment) as server:
        yield server, None


def test_arrow_reads_every_run_of_partitions(
    any_server: tuple[Server, ssl.SSLContext | None], shared_root: Path
) -> None:
    server, context = any_server
    with SpillFile(shared_root / "a.arrow") as spill:
        for first, last in PLACES:
            url = f"{server.url}/a.arrow/partitions/{written(first, last)}"
            with urllib.request.urlopen(url, timeout=BOUND_SECONDS, context=context) as response:
                table = pa.ipc.open_stream(response).read_all()
            assert table == spill.read(first, last + 1)


def test_all_ways_send_the_same_bytes(
    any_server: tuple[Server, ssl.SSLContext | None], server: Server, shared_root: Path
) -> None:
    other, context = any_server
    path = "/deep/large.arrow/partitions/0-2"
    with urllib.request.urlopen(other.url + path, timeout=BOUND_SECONDS, context=context) as response:
        sent = response.read()
    content = (shared_root / "deep" / "large.arrow").read_bytes()
    with SpillFile(shared_root / "deep" / "large.arrow") as spill:
        end = spill.range_of(0, 3)[1]
    assert sent == content[8 : end + 8]
    assert sent == answer(server.url + path)[2]


def test_an_answer_describes_itself(server: Server, shared_root: Path) -> None:
    url = f"{server.url}/a.arrow/partitions/2-3"
    status, headers, body = answer(url)
    assert status == 200
    assert headers["Content-Type"] == STREAM_TYPE
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Shuffle-CRC32C"] == f"{crc32c(ranges_within(body, url)):08x}"
    assert headers["Shuffle-Rows"] == "507"
    assert headers["Accept-Ranges"] == "bytes"
    status, of_head, nothing = answer(url, "HEAD")
    assert (status, nothing) == (200, b"")
    assert {**of_head, "Date": ""} == {**headers, "Date": ""}


def test_what_is_known_is_not_sent_again(server: Server) -> None:
    url = f"{server.url}/a.arrow/partitions/2"
    entity_tag = answer(url)[1]["ETag"]
    status, headers, body = answer(url, If_None_Match=entity_tag)
    assert (status, body, headers["ETag"]) == (304, b"", entity_tag)
    assert answer(url, If_None_Match='"other"')[0] == 200
    assert answer(url, If_Match='"other"')[0] == 412
    assert answer(f"{server.url}/a.arrow/partitions/3")[1]["ETag"] != entity_tag


@pytest.mark.parametrize("cut", [0, 1, 500, 1_000_000, 5_000_000])
def test_a_broken_download_is_resumed(server: Server, cut: int) -> None:
    url = f"{server.url}/deep/large.arrow/partitions/1"
    _, headers, whole = answer(url)
    status, of_rest, rest = answer(url, Range=f"bytes={cut}-", If_Range=headers["ETag"])
    assert status == 206
    assert of_rest["Content-Range"] == f"bytes {cut}-{len(whole) - 1}/{len(whole)}"
    assert whole[:cut] + rest == whole
    assert answer(url, Range=f"bytes={cut}-", If_Range='"other"')[2] == whole
    status, headers, _ = answer(url, Range=f"bytes={len(whole)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(whole)}")


def test_curl_pipes_to_another_process(server: Server) -> None:
    script = "import sys, pyarrow as pa; print(pa.ipc.open_stream(sys.stdin.buffer).read_all().num_rows)"
    piped = subprocess.run(
        f"curl -sf {server.url}/a.arrow/partitions/2-5 | '{sys.executable}' -c '{script}'",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert piped.stdout == "2507\n"


def test_the_layout_of_a_file(server: Server, shared_root: Path) -> None:
    layout = json.loads(answer(f"{server.url}/a.arrow")[2])
    with SpillFile(shared_root / "a.arrow") as spill:
        assert layout["offsets"] == spill.layout.offsets.tolist()
        assert layout["crc32c"] == [f"{checksum:08x}" for checksum in spill.layout.crc32c.tolist()]  # type: ignore[union-attr]
    assert layout["rows"] == [30, 0, 500, 7, 0, 2000]
    assert (layout["name"], layout["partitions"], layout["alignment"]) == ("a.arrow", 6, 64)
    assert layout["bytes"] == (shared_root / "a.arrow").stat().st_size


def test_the_list_of_files(server: Server, shared_root: Path) -> None:
    files = json.loads(answer(f"{server.url}/")[2])["files"]
    assert [(file["name"], file["partitions"], file["rows"]) for file in files] == [
        ("a.arrow", 6, 2537),
        ("deep/large.arrow", 3, 600_010),
    ]


def test_figures_for_prometheus(server: Server) -> None:
    answer(f"{server.url}/a.arrow/partitions/0")
    answer(f"{server.url}/nothing")
    figures = answer(f"{server.url}/metrics")[2].decode()
    values = dict(re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+]+)$", figures, re.MULTILINE))
    assert float(values['shuffle_http_requests_total{route="partitions",status="200"}']) >= 1
    assert float(values['shuffle_http_requests_total{route="none",status="404"}']) >= 1
    assert float(values['shuffle_http_request_duration_seconds_count{route="partitions"}']) >= 1
    assert float(values['shuffle_file_sent_bytes_total{method="sendfile"}']) > 0
    assert float(values['shuffle_file_sent_bytes_total{method="buffered"}']) == 0
    assert float(values["shuffle_http_connections"]) >= 1
    assert float(values["process_open_fds"]) >= 1


def test_health(server: Server) -> None:
    assert answer(f"{server.url}/healthz")[2] == b"ok\n"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/a.arrow/partitions/6", 404),
        (b"/a.arrow/partitions/3-6", 404),
        (b"/a.arrow/partitions/9999999999", 404),
        (b"/none.arrow", 404),
        (b"/a.arrow/b.arrow", 404),
        (b"/deep", 404),
        (b"/deep.arrow", 404),
        (b"/secret.txt", 404),
        (b"/../outside.arrow", 404),
        (b"/%2e%2e/outside.arrow", 404),
        (b"/deep/../../outside.arrow", 404),
        (b"/deep/..%2f..%2foutside.arrow", 404),
        (b"//etc/passwd", 404),
        (b"/%00.arrow", 404),
        (b"/\xff\xfe.arrow", 404),
        (b"/" + b"x" * 300 + b".arrow", 404),
        (b"/" + b"x/" * 3000 + b"a.arrow", 404),
        (b"/" + b"x" * 10_000 + b".arrow", 400),
        (b"http://other/a.arrow", 200),
        (b"http://[/a.arrow", 404),
        (b"*", 404),
    ],
)
def test_only_files_below_the_root(server: Server, target: bytes, status: int) -> None:
    assert server.status_of(target) in {status, 400}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n", 400),
        (b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 400),
        (b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 10_000 + b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"DELETE /a.arrow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"POST /a.arrow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 405),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 405),
    ],
)
def test_malformed_requests(server: Server, request_bytes: bytes, status: int) -> None:
    answered = server.exchange(request_bytes)
    assert answered == b"" or int(answered.split(b" ", 2)[1]) == status
    assert server.status_of(b"/healthz") == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[1]", 400),
        (b'{"a": 1}', 400),
        (b"[" * 100_000, 400),
        (b'["/a.arrow"]', 400),
        (b'["/a.arrow/partitions/1\\n"]', 404),
        (b'["/\\u00e9.arrow/partitions/1"]', 400),
        (b'["/../x.arrow/partitions/1"]', 404),
        (b'["/a.arrow/partitions/0", "/none.arrow/partitions/0"]', 404),
        (b'["/a.arrow/partitions/9"]', 404),
        (json.dumps(["/a.arrow/partitions/0"] * 1001).encode(), 413),
        (b'["' + b"x" * 2_000_000 + b'"]', 413),
    ],
)
def test_malformed_requests_for_several_places(server: Server, body: bytes, status: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert int(server.exchange(head + body).split(b" ", 2)[1]) == status


def test_requests_in_a_row_on_one_connection(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /a.arrow/partitions/0 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50 + get("/healthz"))
        answered = b""
        while piece := connection.recv(1 << 20):
            answered += piece
    assert answered.count(b"HTTP/1.1 200 OK") == 51


def test_a_program_serves_from_any_thread(shared_root: Path) -> None:
    """Two at a time, and again. Their threads end soon after them: a disk that hangs does not hold up who closes."""
    before = set(threading.enumerate())

    def serve_and_ask(_number: int) -> tuple[str, str, int]:
        with PartitionServer(shared_root, options=ServeOptions(grace_seconds=5)) as server:
            status, headers, _body = answer(f"{server.url}a.arrow/partitions/2")
            assert headers["Shuffle-Incarnation"] == server.incarnation
            return server.url, server.incarnation, status

    with ThreadPoolExecutor(2) as executor:
        served = list(executor.map(serve_and_ask, range(4)))
    assert [status for _, _, status in served] == [200] * 4
    assert len({incarnation for _, incarnation, _ in served}) == 4
    with pytest.raises(urllib.error.URLError):
        open_url(served[0][0])
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_server_that_cannot_start_says_why(shared_root: Path, server: Server) -> None:
    with pytest.raises(OSError, match=r"cannot listen at 127.0.0.1:.*: Address already in use"):
        PartitionServer(shared_root, port=server.address[1])
    with pytest.raises(NotADirectoryError):
        PartitionServer(shared_root / "a.arrow")


@pytest.mark.parametrize(
    "path", ["/healthz", "/", "/a.arrow", "/a.arrow/partitions/0", "/none.arrow", "/a.arrow/partitions/99", "/metrics"]
)
def test_each_answer_names_the_servers_incarnation(server: Server, path: str) -> None:
    fields = [answer(f"{server.url}{path}", **more)[1] for more in ({}, {"X_Other": "1", "Range": "bytes=1-"})]
    assert len(fields[0]["Shuffle-Incarnation"]) == 16
    assert fields[0]["Shuffle-Incarnation"] == fields[1]["Shuffle-Incarnation"]


def test_what_is_gone_is_told_from_what_never_was(tmp_path: Path) -> None:
    random_spill(tmp_path / "a.arrow", [1])
    with PartitionServer(tmp_path) as server:
        assert answer(f"{server.url}a.arrow/partitions/0")[0] == 200
        (tmp_path / "a.arrow").unlink()
        assert answer(f"{server.url}a.arrow/partitions/0")[::2] == (410, b"the file that had this name is gone\n")
        assert answer(f"{server.url}a.arrow")[0] == 410
        assert answer(f"{server.url}b.arrow/partitions/0")[0] == 404
        random_spill(tmp_path / "a.arrow", [1])
        assert answer(f"{server.url}a.arrow/partitions/0")[0] == 200
