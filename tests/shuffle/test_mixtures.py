"""Files whose rows different partitioners placed are not taken together, unless that is asked for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import (
    CallablePartitioner,
    HashPartitioner,
    MapWriter,
    RoundRobinPartitioner,
    co_partitioned,
    merge,
    read_partition,
)
from shuffle.inspecting.inspection import inspect
from shuffle.inspecting.repair import repair
from shuffle.partitioners import Partitioner
from spill_format import MismatchError, PartitionerDescription, SpillFile
from tests.helpers.anatomy import Anatomy
from tests.helpers.commands import run

ROWS = pa.table({"id": pa.array(range(100), pa.int64()), "y": pa.array(range(100), pa.int64())})


def mapped(path: Path, partitioner: Partitioner, rows: pa.Table = ROWS) -> Path:
    with MapWriter(path, rows.schema, partitioner) as writer:
        writer.write(rows)
    return path


def partitioner_of(path: Path) -> PartitionerDescription | None:
    with SpillFile(path) as spill:
        return spill.partitioner


@pytest.fixture
def by_id(verified_dir: Path) -> Path:
    return mapped(verified_dir / "id.arrow", HashPartitioner("id", 4))


@pytest.fixture
def by_y(verified_dir: Path) -> Path:
    return mapped(verified_dir / "y.arrow", HashPartitioner("y", 4))


@pytest.mark.parametrize("compact", [False, True])
def test_a_merge_of_one_partitioner_keeps_it_and_a_mixture_is_asked_for(
    by_id: Path, by_y: Path, verified_dir: Path, compact: bool
) -> None:
    words = f"{by_y}: another partitioner than {by_id}: columns id and y; mix_partitioners=True takes"
    with pytest.raises(MismatchError) as raised:
        merge([by_id, by_y], verified_dir / "mixed.arrow", compact=compact)
    assert words in str(raised.value)
    merge([by_id, by_y], verified_dir / "mixed.arrow", compact=compact, mix_partitioners=True)
    assert partitioner_of(verified_dir / "mixed.arrow") is None
    merge([by_id, by_id], verified_dir / "twice.arrow", compact=compact)
    assert str(partitioner_of(verified_dir / "twice.arrow")) == "hash(id bigint) into 4"


def test_what_is_unknown_may_be_merged_and_makes_the_whole_unknown(by_id: Path, verified_dir: Path) -> None:
    unknown = mapped(verified_dir / "unknown.arrow", CallablePartitioner(lambda batch: [0] * batch.num_rows, 4))
    merge([unknown, by_id], verified_dir / "all.arrow")
    assert partitioner_of(verified_dir / "all.arrow") is None


def test_spills_and_repairs_keep_the_partitioner(by_id: Path, verified_dir: Path) -> None:
    with MapWriter(verified_dir / "k.arrow", ROWS.schema, HashPartitioner("id", 4), spills_only=True) as writer:
        writer.write(ROWS)
    (spill,) = verified_dir.glob("k-*.spill.arrow")
    assert partitioner_of(spill) == partitioner_of(by_id)
    damaged = Anatomy.of(by_id)
    (verified_dir / "cut").mkdir()
    path = verified_dir / "cut" / "damaged"
    path.write_bytes(damaged.raw[: damaged.footer + 8])
    repair(path, verified_dir / "repaired.arrow")
    assert partitioner_of(verified_dir / "repaired.arrow") == partitioner_of(by_id)


def test_partitions_of_a_mixture_are_read_if_asked_for(by_id: Path, by_y: Path, verified_dir: Path) -> None:
    with pytest.raises(MismatchError, match=r"another partitioner than .*: columns id and y"):
        read_partition([by_id, by_y], 0).read_all()
    assert read_partition([by_id, by_y], 0, 4, mix_partitioners=True).read_all().num_rows == 200
    more = mapped(verified_dir / "more.arrow", HashPartitioner("id", 5))
    with pytest.raises(MismatchError, match=r"another number of partitions than .*: expected 4, found 5"):
        read_partition([by_id, more], 0, mix_partitioners=True).read_all()


def test_files_are_joined_partition_by_partition_where_keys_are_placed_alike(by_id: Path, verified_dir: Path) -> None:
    narrow = ROWS.set_column(0, "user", ROWS["id"].cast(pa.int32()))
    same = mapped(
        verified_dir / "same.arrow",
        HashPartitioner("user", 4),
        narrow.cast(pa.schema([("user", pa.int64()), ("y", pa.int64())])),
    )
    other = mapped(verified_dir / "other.arrow", HashPartitioner("user", 4), narrow)
    turns = mapped(verified_dir / "turns.arrow", RoundRobinPartitioner(4))
    assert co_partitioned(by_id, same)
    with SpillFile(by_id) as opened:
        assert str(co_partitioned(opened, same)) == "partitioned alike"
        assert opened.read(0).num_rows
    assert str(co_partitioned(by_id, other)) == "not partitioned alike: types of keys bigint and int"
    assert not co_partitioned(turns, turns)


def test_commands_show_the_partitioner_and_mix_if_told(by_id: Path, by_y: Path, verified_dir: Path) -> None:
    assert inspect(by_id).as_dict()["files"][0]["partitioner"] == "hash(id bigint) into 4"
    assert "hash(id bigint) into 4" in run("shuffle inspect id.arrow", verified_dir).stdout
    refused = run("shuffle-merge id.arrow y.arrow -o all.arrow", verified_dir)
    assert refused.returncode == 2
    assert "columns id and y; --mix-partitioners" in refused.stderr
    assert run("shuffle-merge id.arrow y.arrow -o all.arrow --mix-partitioners", verified_dir).returncode == 0
