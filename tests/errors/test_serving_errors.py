"""Errors of serving and fetching: what a server answers, and what a client says of it, the network, or the data."""

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from shuffle import FetchOptions, PartitionClient, PartitionServer, fetch
from shuffle.client import NetworkError, ServerError
from shuffle.client.place import Place
from shuffle.serve.resource import NoResourceError, parse
from shuffle.wire import CHECKSUM_HEADER, decode_length
from spill_format import TruncatedError
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.anatomy import Anatomy
from tests.helpers.proxies import scripted_server
from tests.helpers.servers import read_all, running
from tests.helpers.spills import random_spill

QUICK = FetchOptions(backoff_seconds=0.001, attempts=2, timeout_seconds=0.2)
URL = "http://127.0.0.1:…/a.arrow/partitions/0"

Act = Callable[[PartitionClient, str, Path], object]


def read(client: PartitionClient, url: str, _directory: Path) -> object:
    return client.read(url, 0)


def save(client: PartitionClient, url: str, directory: Path) -> object:
    return client.save(url, 0, None, directory / "saved")


def pipe(client: PartitionClient, url: str, _directory: Path) -> object:
    return client.pipe(url, 0, None, io.BytesIO())


def answer(status: str, body: bytes, **headers: object) -> bytes:
    """An answer of a server, cut off where its body is shorter than it says."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"Content-Length": len(body), CHECKSUM_HEADER: "00000001", "ETag": '"1"'} | given
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value != "")]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def fetching(act: Act, *answers: bytes, holding: bool = False) -> Callable[[Path], object]:
    """What fetches from a server that answers so."""

    def provoke(directory: Path) -> object:
        with scripted_server(answers, holding=holding) as url, PartitionClient(QUICK) as client:
            return act(client, f"{url}/a.arrow", directory)

    return provoke


def fetch_with_a_token_of_two_lines(_directory: Path) -> object:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.arrow"
        return fetch(url, 0, options=FetchOptions(token="one\ntwo"))


class Answer(NamedTuple):
    """A request that a server refuses.

    Attributes:
        status: of its answer.
        text: its body.
        request: its bytes.
        options: of the server.
    """

    status: int
    text: str
    request: bytes
    options: tuple[str, ...] = ()

    def check(self, directory: Path) -> None:
        path = random_spill(directory / "a.arrow", [3, 5])
        damaged = bytearray(path.read_bytes())
        damaged[Anatomy.of(path).summary + 20] ^= 1
        (directory / "damaged.arrow").write_bytes(damaged)
        with running(directory, *self.options) as server, server.connect() as connection:
            connection.sendall(self.request)
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert int(head.split(b" ", 2)[1]) == self.status
        assert body.decode() == f"{self.text}\n"


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def post(body: bytes, **headers: object) -> bytes:
    fields = {"Host": "localhost", "Connection": "close", "Content_Length": len(body)} | headers
    lines = ["POST / HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def serve_with_words_for_a_certificate(directory: Path) -> None:
    (directory / "a.pem").write_text("no certificate")
    PartitionServer(directory, certificate=directory / "a.pem")


ANSWERS = [
    Answer(405, "DELETE is not allowed here: GET, HEAD are", get("/a.arrow", "DELETE")),
    Answer(405, "PUT is not allowed here: GET, HEAD, POST are", get("/", "PUT")),
    Answer(421, "this server has another name: see --allow-host", get("/").replace(b"localhost", b"a.com")),
    Answer(417, "nothing but 100-continue can be expected", post(b"[]", Expect="rain")),
    Answer(404, "no partitioned file has this name", get("/b.arrow/partitions/0")),
    Answer(500, "the file is damaged: index section: CRC-32C of its summary", get("/damaged.arrow/partitions/0")),
    Answer(408, "the request's body did not arrive in time", post(b"", Content_Length=10), ("--header-seconds", "0.2")),
    Answer(413, "the request's body is too large", post(b'["' + b"x" * 2_000_000 + b'"]')),
    Answer(400, "the request's body is cut off, or not encoded as it says", post(b"no gzip", Content_Encoding="gzip")),
    Answer(400, "the body must be a JSON list of paths", post(b"{")),
    Answer(
        413,
        "one request may ask for 1000 places, not 1001",
        post(json.dumps(["/a.arrow/partitions/0"] * 1001).encode()),
    ),
    Answer(400, "each path must name partitions, percent-encoded: /a.arrow/partitions/3-6", post(b'["/a.arrow"]')),
    Answer(404, "the path has an empty or a dot segment", get("/d/../a.arrow")),
    Answer(404, "partitions are written as 3, or as 3-6", get("/a.arrow/partitions/x")),
    Answer(404, "partitions 6-3 end before they start", get("/a.arrow/partitions/6-3")),
    Answer(404, "a segment of the path holds a separator", get("/d%2fa.arrow")),
    Answer(404, "only files whose names end with .arrow are served", get("/etc/passwd")),
]
TABLE: list[Row] = [
    Raised(NoResourceError, "no URL: Invalid IPv6 URL", lambda _: parse("http://[/a.arrow")),
    Raised(NoResourceError, "the path does not start at the root", lambda _: parse("a.arrow")),
    Raised(ValueError, "no certificate, key or authority that can be used: …", serve_with_words_for_a_certificate),
    Raised(
        ValueError,
        "http://host/a.arrow: there are no partitions from 3 to 2",
        lambda _: Place.of("http://host/a.arrow", 3, 3),
    ),
    Raised(
        ValueError,
        "http://host/a b.arrow: a URL's path has other characters percent-encoded",
        lambda _: Place.parse("http://host/a b.arrow"),
    ),
    Raised(
        NetworkError,
        "the connection broke off, 10 of 100 bytes had arrived",
        fetching(read, answer("200 OK", bytes(10), Content_Length=100, ETag="")),
    ),
    Raised(
        ServerError,
        "the server answered another range of bytes than it was asked for",
        fetching(
            read,
            answer("200 OK", bytes(10), Content_Length=100),
            answer("206 Partial Content", bytes(10), Content_Range="bytes 0-9/100"),
        ),
    ),
    Raised(
        MemoryError,
        "8185452.3 TiB do not fit into memory; save them into a file",
        fetching(read, answer("200 OK", b"x", Content_Length=9 * 10**18)),
    ),
    Raised(
        ServerError,
        "the server answered 403 Forbidden: not for you",
        fetching(read, answer("403 Forbidden", b"not for you\n")),
    ),
    Raised(ServerError, "the server answered 403 Forbidden", fetching(read, answer("403 Forbidden", b"<html>"))),
    Raised(
        NetworkError,
        "the network failed: the server closed the connection before an answer",
        fetching(read, b"HTTP/1.1 200 OK\r\nContent-Len"),
    ),
    Raised(
        NetworkError,
        "the network failed: no answer of HTTP/1.1: b'SSH-2.0-x\\r\\n\\r\\n'",
        fetching(read, b"SSH-2.0-x\r\n\r\n"),
    ),
    Raised(
        NetworkError,
        "the network failed: nothing arrived for 0.2 s, 10 of 100 bytes",
        fetching(read, answer("200 OK", bytes(10), Content_Length=100), holding=True),
    ),
    Raised(ValueError, "the token has white space or control characters in it", fetch_with_a_token_of_two_lines),
    Raised(
        NetworkError,
        "the network failed: nothing arrived for 0.2 s, 10 of 100 bytes",
        fetching(save, answer("200 OK", bytes(10), Content_Length=100), holding=True),
    ),
    Raised(TruncatedError, "the stream has no end-of-stream marker", fetching(pipe, answer("200 OK", b""))),
    Raised(ValueError, "no length: '-5'", lambda _: decode_length("-5")),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)


@pytest.mark.parametrize("refusal", ANSWERS, ids=lambda row: row.text)
def test_what_a_server_answers(refusal: Answer, tmp_path: Path) -> None:
    refusal.check(tmp_path)
