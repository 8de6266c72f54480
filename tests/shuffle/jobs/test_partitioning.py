"""Files partitioned by the workers of an engine are those partitioned here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuffle import partition_files
from shuffle.jobs.partitioning import executor_of, partition_files_on
from shuffle.rows.errors import InputError
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


def test_a_cluster_writes_what_one_process_writes(inputs: Path, tmp_path: Path) -> None:
    partition_files(inputs, tmp_path / "here.arrow", 5, by="key", where="key > 7")
    with ThreadPoolExecutor(2) as executor:
        report = partition_files_on(
            executor, [inputs], tmp_path / "there.arrow", 5, by=["key"], columns=["key", "text"], where="key > 7"
        )
    assert report.source_count == 3
    assert tables(tmp_path / "there.arrow") == tables(tmp_path / "here.arrow")


def test_the_command_takes_a_dask_cluster(inputs: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, protocol="tcp") as cluster:
        url = cluster.scheduler_address.replace("tcp://", "dask://")
        ran = run(f"shuffle partition {inputs} --by key --partitions 5 -o out.arrow --executor {url}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert sum(table.num_rows for table in tables(tmp_path / "out.arrow")) == 300


def test_what_cannot_be_done_on_an_engine_is_said(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the URL of an engine"), executor_of("spark://here:7077"):
        pass
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(InputError, match="the columns to write must include those of by: key"):
            partition_files_on(executor, [inputs], tmp_path / "a.arrow", 5, by=["key"], columns=["text"])
        with pytest.raises(InputError, match="the inputs have no rows that could be written"):
            partition_files_on(executor, [inputs], tmp_path / "a.arrow", 5, by=["key"], where="key < 0")
    ran = run("shuffle partition inputs --round-robin --partitions 5 -o a.arrow --executor dask://a:1", tmp_path)
    assert "--executor takes --by, and neither --keep-spills nor --spills-only" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]
