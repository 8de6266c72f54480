"""Files partitioned by the workers of an engine are those partitioned here."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuffle import partition_files
from shuffle.jobs.partitioning import executor_of, partition_files_on
from shuffle.rows.errors import InputError
from shuffle.rows.placement import sort_keys_of
from spill_format import SpillFile
from tests.helpers.commands import run

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("default")]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    directory = tmp_path / "inputs"
    directory.mkdir()
    for number in range(3):
        keys = list(range(number * 100, number * 100 + 100))
        pq.write_table(pa.table({"key": keys, "text": list(map(str, keys))}), directory / f"{number}.parquet")
    return directory


def tables(path: Path) -> list[pa.Table]:
    with SpillFile(path) as file:
        return [file.read(partition).combine_chunks() for partition in range(file.partition_count)]


@pytest.mark.parametrize("places", [{"by": ["key"]}, {"range": sort_keys_of("text:desc,key")}])
def test_a_cluster_writes_what_one_process_writes(places: dict[str, Any], inputs: Path, tmp_path: Path) -> None:
    partition_files(inputs, tmp_path / "here.arrow", 5, where="key > 7", **places)
    with ThreadPoolExecutor(2) as executor:
        report = partition_files_on(
            executor, [inputs], tmp_path / "there.arrow", 5, columns=["key", "text"], where="key > 7", **places
        )
    assert report.source_count == 3
    assert tables(tmp_path / "there.arrow") == tables(tmp_path / "here.arrow")


def test_the_command_takes_a_dask_cluster(inputs: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, protocol="tcp") as cluster:
        check_the_command(inputs, tmp_path, cluster.scheduler_address.replace("tcp://", "dask://"))


def test_the_command_takes_a_ray_cluster(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From outside the cluster, through its client server."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # The client server forks for each client, and hangs now and then where gRPC looks after forks.
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "false")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, "ray_client_server_port": port}
    )
    try:
        check_the_command(inputs, tmp_path, f"ray://127.0.0.1:{port}")
    finally:
        cluster.shutdown()


def check_the_command(inputs: Path, tmp_path: Path, url: str) -> None:
    ran = run(f"shuffle partition {inputs} --by key --partitions 5 -o out.arrow --executor {url}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert sum(table.num_rows for table in tables(tmp_path / "out.arrow")) == 300


def test_what_cannot_be_done_on_an_engine_is_said(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the URL of an engine"), executor_of("spark://here:7077"):
        pass
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(InputError, match="the columns to write must include those that place rows: key"):
            partition_files_on(executor, [inputs], tmp_path / "a.arrow", 5, by=["key"], columns=["text"])
        with pytest.raises(InputError, match="the inputs have no rows that could be written"):
            partition_files_on(executor, [inputs], tmp_path / "a.arrow", 5, by=["key"], where="key < 0")
    ran = run("shuffle partition inputs --round-robin --partitions 5 -o a.arrow --executor dask://a:1", tmp_path)
    assert "--executor takes --by or --range: a task does not know how many rows are before its own" in ran.stderr
    ran = run(
        "shuffle partition inputs --by key --keep-spills --partitions 5 -o a.arrow --executor dask://a:1", tmp_path
    )
    assert "--executor takes neither --keep-spills nor --spills-only" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]
