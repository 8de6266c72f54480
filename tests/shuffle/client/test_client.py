"""Fetching from real servers, over networks that break and lie."""

from __future__ import annotations

import io
import pickle
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle import PartitionServer
from shuffle.client import FetchError, NetworkError, PartitionClient, Place, ServerError, fetch
from shuffle.client.sinks import MemorySink
from shuffle.http_options import FetchOptions, ServeOptions
from spill_format import ChecksumError, SpillFile, SpillWriter, TargetExistsError
from tests.helpers.http_files import http_files
from tests.helpers.proxies import cut_after, flipped_at, proxied, scripted_server
from tests.helpers.servers import Authority, Server, running
from tests.helpers.spills import random_spill

QUICK = FetchOptions(backoff_seconds=0.001, attempts=4, timeout_seconds=20)
LARGE = "deep/large.arrow"


@pytest.fixture
def client() -> Iterator[PartitionClient]:
    with PartitionClient(QUICK) as made:
        yield made


def local(root: Path, name: str, first: int, last: int | None = None) -> pa.Table:
    with SpillFile(root / name) as spill:
        return spill.read(first, last)


def stream_of(root: Path, name: str, first: int, last: int) -> bytes:
    content = (root / name).read_bytes()
    with SpillFile(root / name) as spill:
        start, end = spill.range_of(first, last)
        head = spill.range_of(0)[0]
    return content[8:head] + content[start:end] + b"\xff\xff\xff\xff\0\0\0\0"


def test_partitions_are_those_of_the_file(server: Server, shared_root: Path, client: PartitionClient) -> None:
    for first in range(6):
        for last in range(first + 1, 7):
            table = client.read(f"{server.url}/a.arrow", first, last)
            assert table == local(shared_root, "a.arrow", first, last)
    assert client.read(f"{server.url}/a.arrow", 2, columns=["text"]).column_names == ["text"]


def test_one_call_fetches(server: Server, shared_root: Path) -> None:
    assert fetch(f"{server.url}/a.arrow/partitions/2-3") == local(shared_root, "a.arrow", 2, 4)
    assert fetch(f"{server.url}/a.arrow", 2) == local(shared_root, "a.arrow", 2)
    for wrong in ((f"{server.url}/a.arrow",), (f"{server.url}/a.arrow/partitions/1", 1)):
        with pytest.raises(ValueError, match="either in the URL or beside it"):
            fetch(*wrong)


def test_dictionary_columns_have_their_types(tmp_path: Path) -> None:
    batch = pa.record_batch({"d": pa.array(["a", "b", "a"]).dictionary_encode()})
    with SpillWriter(tmp_path / "d.arrow", batch.schema, 1) as writer:
        writer.write(0, batch)
    with running(tmp_path) as server:
        assert fetch(f"{server.url}/d.arrow", 0).to_batches() == [batch]


@pytest.mark.parametrize("cuts", [[0], [10], [200], [1000], [300_000] * 3, [5_000_000, 100, 5_000_000, 0, 900_000]])
def test_a_download_goes_on_where_it_broke(
    server: Server, shared_root: Path, client: PartitionClient, cuts: list[int], tmp_path: Path
) -> None:
    expected = stream_of(shared_root, LARGE, 1, 2)
    with proxied(server.address, *map(cut_after, cuts)) as proxy:
        assert client.read(f"{proxy.url}/{LARGE}", 1) == local(shared_root, LARGE, 1)
        assert len(proxy.heads) == len(cuts) + 1
        starts = [int(found) for found in re.findall(rb"Range: bytes=(\d+)-", b"".join(proxy.heads))]
        assert starts == sorted(starts)
        if max(cuts) > 1000:
            assert starts[-1] > sum(cuts) - 1000 * len(cuts)  # all but the heads of answers was of use
    with proxied(server.address, *map(cut_after, cuts)) as proxy:
        client.save(f"{proxy.url}/{LARGE}", 1, None, tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == expected
    with proxied(server.address, *map(cut_after, cuts)) as proxy:
        piped = io.BytesIO()
        client.pipe(f"{proxy.url}/{LARGE}", 1, None, piped)
        assert piped.getvalue() == expected


def test_a_network_that_flips_a_bit_once_is_survived(
    server: Server, shared_root: Path, client: PartitionClient
) -> None:
    with proxied(server.address, flipped_at(100_000)) as proxy:
        # The second request comes on the same connection, behind the flipped byte.
        assert client.read(f"{proxy.url}/{LARGE}", 1) == local(shared_root, LARGE, 1)


def test_damaged_data_is_the_datas_fault(tmp_path: Path, client: PartitionClient) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = random_spill(root / "a.arrow", [10, 10])
    content = bytearray(path.read_bytes())
    with SpillFile(path) as spill:
        content[spill.range_of(1)[0] + 400] ^= 1
    path.write_bytes(content)
    with running(root) as server:
        url = f"{server.url}/a.arrow"
        assert client.read(url, 0).num_rows == 10
        with pytest.raises(ChecksumError, match=re.escape(f"{url}/partitions/1: CRC-32C")):
            client.read(url, 1)
        with pytest.raises(ChecksumError):
            client.save(url, 1, None, tmp_path / "saved")
        assert sorted(tmp_path.iterdir()) == [root]
        piped = io.BytesIO()
        with pytest.raises(ChecksumError):
            client.pipe(url, 1, None, piped)
        assert not piped.getvalue().endswith(b"\xff\xff\xff\xff\0\0\0\0")


def test_an_existing_target_stays(server: Server, client: PartitionClient, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(TargetExistsError):
        client.save(f"{server.url}/a.arrow", 2, None, tmp_path / "x")
    client.save(f"{server.url}/a.arrow", 2, None, tmp_path / "x", overwrite=True)
    assert pa.ipc.open_stream((tmp_path / "x").read_bytes()).read_all().num_rows == 500


def test_a_network_that_always_breaks_is_at_fault(server: Server, client: PartitionClient) -> None:
    with proxied(server.address, last=cut_after(0)) as proxy:
        with pytest.raises(NetworkError, match=rf"{proxy.url}/a\.arrow/partitions/2: the network failed"):
            client.read(f"{proxy.url}/a.arrow", 2)
        assert len(proxy.heads) == QUICK.attempts
        url = proxy.url
    with pytest.raises(NetworkError, match="Connection refused"):
        client.read(f"{url}/a.arrow", 2)


@pytest.mark.parametrize(
    ("name", "partition", "status", "said"),
    [("a.arrow", 6, 404, "there is no partition 6: they are 0 to 5"), ("b.arrow", 0, 404, "no partitioned file")],
)
def test_what_a_server_refuses_is_said(
    server: Server, client: PartitionClient, name: str, partition: int, status: int, said: str
) -> None:
    with pytest.raises(ServerError, match=said) as caught:
        client.read(f"{server.url}/{name}", partition)
    assert caught.value.status == status
    assert caught.value.url == f"{server.url}/{name}/partitions/{partition}"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.status) == (ServerError, str(caught.value), status)


def test_another_kind_of_server_is_told_from_ours(tmp_path: Path, client: PartitionClient) -> None:
    (tmp_path / "a.arrow" / "partitions").mkdir(parents=True)
    (tmp_path / "a.arrow" / "partitions" / "0").write_bytes(b"x")
    with http_files(tmp_path) as other, pytest.raises(ServerError, match="no server of partitions: no checksum"):
        client.read(f"{other.url}/a.arrow", 0)


def test_secrets(shared_root: Path, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open-sesame\n")
    options = ("--certificate", authority.certificate, "--client-authority", authority.root)
    with running(shared_root, *map(str, options), "--token-file", str(tmp_path / "token")) as server:
        url = f"{server.url}/{LARGE}"
        known = FetchOptions(
            token="open-sesame", authority=authority.root, certificate=authority.client, backoff_seconds=0.001
        )
        assert fetch(url, 1, options=known) == local(shared_root, LARGE, 1)
        with PartitionClient(known) as client:
            client.save(url, 1, None, tmp_path / "saved")
            assert (tmp_path / "saved").read_bytes() == stream_of(shared_root, LARGE, 1, 2)
            assert [each.table.num_rows for each in client.read_many([Place.of(url, 0), Place.of(url, 2)])] == [5, 5]
        for wrong in (
            FetchOptions(token="open", authority=authority.root, certificate=authority.client),
            FetchOptions(token="open-sesame", authority=authority.root, attempts=1),
            FetchOptions(token="open-sesame", authority=authority.root, certificate=authority.stranger, attempts=1),
            FetchOptions(token="open-sesame", certificate=authority.client, attempts=1),
        ):
            with pytest.raises(FetchError):
                fetch(url, 0, options=wrong)


def places_of(url: str, name: str, *partitions: tuple[int, int]) -> list[Place]:
    return [Place.of(f"{url}/{name}", first, last) for first, last in partitions]


def test_many_places_come_by_one_request(server: Server, shared_root: Path, client: PartitionClient) -> None:
    wanted = ((0, 1), (2, 5), (1, 2), (0, 6))
    with proxied(server.address) as proxy:
        places = places_of(proxy.url, "a.arrow", *wanted) + places_of(proxy.url, LARGE, (0, 1), (1, 2))
        tables = [each.table for each in client.read_many(places)]
        assert len(proxy.heads) <= 2  # head and body may come separately
    expected = [local(shared_root, "a.arrow", *partitions) for partitions in wanted]
    assert tables == [*expected, local(shared_root, LARGE, 0), local(shared_root, LARGE, 1)]


def test_connections_are_kept_for_each_method(server: Server, client: PartitionClient) -> None:
    with proxied(server.address) as proxy:
        for _ in range(3):
            assert client.read(f"{proxy.url}/a.arrow", 2).num_rows == 500
            assert len(list(client.read_many(places_of(proxy.url, "a.arrow", (0, 1), (2, 3))))) == 2
        assert len(proxy.clients) == 2


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20, 1 << 30])
def test_many_places_of_several_servers_come_in_order(server: Server, shared_root: Path, memory_bytes: int) -> None:
    options = FetchOptions(memory_bytes=memory_bytes, connections=3)
    with running(shared_root, "--transfer-to", "off") as other, PartitionClient(options) as client:
        places = [
            Place.of(f"{url}/{name}", partition)
            for partition in range(3)
            for url in (server.url, other.url)
            for name in ("a.arrow", LARGE)
            for _ in range(20)
        ]
        rows = [each.table.num_rows for each in client.read_many(places)]
    assert rows == [n for a, b in ((30, 5), (0, 600_000), (500, 5)) for n in ([a] * 20 + [b] * 20) * 2]


@pytest.mark.parametrize("cuts", [[0], [100], [400], [2000], [50_000, 60_000], [4_000_000], [5_000_000, 0, 100]])
def test_a_request_for_many_places_survives_breaks(
    server: Server, shared_root: Path, client: PartitionClient, cuts: list[int]
) -> None:
    with proxied(server.address, *map(cut_after, cuts)) as proxy:
        places = places_of(proxy.url, "a.arrow", (0, 1), (2, 3), (5, 6)) + places_of(
            proxy.url, LARGE, (0, 1), (1, 2), (2, 3)
        )
        rows = [each.table.num_rows for each in client.read_many(places)]
    assert rows == [30, 500, 2000, 5, 600_000, 5]


def outcomes(client: PartitionClient, places: list[Place]) -> list[object]:
    """Rows of each place, or the class of its error, which names the place."""
    fetched = list(client.read_many(places))
    assert [each.place for each in fetched] == places
    for each in fetched:
        assert each.error is None or each.place.url in str(each.error)
    return [each.table.num_rows if each.error is None else type(each.error) for each in fetched]


def test_a_missing_place_takes_no_other_with_it(server: Server, client: PartitionClient) -> None:
    places = places_of(server.url, "a.arrow", (0, 1), (2, 3), (9, 10), (3, 4)) + places_of(
        server.url, "b.arrow", (0, 1)
    )
    assert outcomes(client, places) == [30, 500, ServerError, 7, ServerError]
    missing = list(client.read_many(places))[2]
    with pytest.raises(ServerError, match=r"partitions/9: .*there is no partition 9"):
        missing.table  # noqa: B018


def test_a_damaged_place_takes_no_other_with_it(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.arrow", [10] * 64)
    content = bytearray(path.read_bytes())
    content[content.index(stream_of(tmp_path, "a.arrow", 40, 41)[-60:-8])] ^= 1
    path.write_bytes(content)
    with PartitionServer(tmp_path) as server, PartitionClient(FetchOptions(connections=1)) as client:
        places = [Place.of(f"{server.url}a.arrow", partition) for partition in range(64)]
        assert outcomes(client, places) == [10] * 40 + [ChecksumError] + [10] * 23


def test_a_network_that_breaks_for_good_takes_nothing_that_has_arrived(server: Server, client: PartitionClient) -> None:
    with proxied(server.address, cut_after(40_000), last=cut_after(0)) as proxy:
        places = places_of(proxy.url, "a.arrow", *[(0, 1)] * 20, (1, 2), *[(0, 1)] * 43)
        there = places_of(server.url, "a.arrow", (2, 3))
        result = outcomes(client, places + there)
    assert result[:20] == [30] * 20
    assert result[-2:] == [NetworkError, 500]
    assert len(proxy.heads) <= 4 + QUICK.attempts  # a server that is lost is not asked for each place again


def test_an_expected_checksum_is_compared_before_bytes_come(server: Server, client: PartitionClient) -> None:
    place = Place.of(f"{server.url}/a.arrow", 2)
    recorded = int(urllib.request.urlopen(place.url).headers["Shuffle-CRC32C"], 16)
    places = [place._replace(crc32c=recorded), place._replace(crc32c=recorded ^ 1), place]
    assert outcomes(client, places) == [500, ChecksumError, 500]
    with pytest.raises(ChecksumError, match="CRC-32C that the server has for these partitions"):
        list(client.read_many(places))[1].table  # noqa: B018


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nShuffle-CRC32C: 0\r\n\r\n12345678"]
)
@pytest.mark.parametrize("limit", [{"deadline_seconds": 0.5}, {"deadline_seconds": 0.5, "attempts": 1000}])
def test_a_call_ends_with_its_deadline(answer: bytes, limit: dict[str, Any]) -> None:
    began = time.monotonic()
    with scripted_server([answer], holding=True) as url, PartitionClient(FetchOptions(**limit)) as client:
        with pytest.raises(NetworkError):
            client.read(f"{url}/a.arrow", 0)
        assert outcomes(client, places_of(url, "a.arrow", (0, 1), (1, 2))) == [NetworkError, NetworkError]
    assert time.monotonic() - began < 3


def test_a_token_may_be_in_a_file_and_change_there(shared_root: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    options = FetchOptions(token=tmp_path / "token")
    assert "first" not in repr(pickle.loads(pickle.dumps(options)))
    with (
        PartitionServer(shared_root, options=ServeOptions(token="second")) as server,
        PartitionClient(options) as client,
    ):
        with pytest.raises(ServerError, match="401"):
            client.read(f"{server.url}a.arrow", 0)
        (tmp_path / "token").write_text("second\n")
        assert client.read(f"{server.url}a.arrow", 0).num_rows == 30
        assert fetch(f"{server.url}a.arrow", 0, options=FetchOptions(token=lambda: b" second")).num_rows == 30


def test_memory_is_that_of_decompressed_rows(tmp_path: Path) -> None:
    """What counts is not the compressed stream, which is smaller."""
    batch = pa.record_batch({"n": pa.array([0] * 100_000), "text": pa.array(["zero"] * 100_000)})
    with SpillWriter(tmp_path / "a.arrow", batch.schema, 2, compression="zstd") as writer:
        writer.write(0, batch)
        writer.write(1, batch.slice(0, 3))
    with PartitionServer(tmp_path) as server, PartitionClient() as client:
        for partition, most in ((0, 1.02), (1, 40)):
            place = Place.of(f"{server.url}a.arrow", partition)
            sink = MemorySink()
            client._download(place, sink)
            rows = client.read(f"{server.url}a.arrow", partition)
            assert rows.nbytes <= sink.decompressed_bytes() <= most * rows.nbytes
            assert partition or sink.received < rows.nbytes / 5
