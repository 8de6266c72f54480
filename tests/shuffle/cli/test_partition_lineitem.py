"""``shuffle partition`` on TPC-H's largest table: decimals, dates and texts in conditions, keys and ranges."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest

from spill_format import SpillFile
from tests.helpers.commands import json_of


@pytest.fixture(scope="module")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At scale 0.01: 60,175 rows."""
    directory = tmp_path_factory.mktemp("tpch")
    generator = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "--scale-factor=0.01", "--tables=lineitem", f"--output-dir={directory}"]
    subprocess.run([generator, *arguments], check=True, capture_output=True)
    return directory / "lineitem.parquet"


@pytest.mark.parametrize(
    "condition",
    [
        "l_quantity > 10 and l_shipmode in ('AIR','RAIL') or l_comment is null",
        "l_shipdate between '1994-01-01' and '1994-12-31' and l_discount between 0.05 and 0.07 and l_quantity < 24",
        "l_commitdate < l_receiptdate and l_shipdate < l_commitdate and l_shipmode in ('MAIL', 'SHIP')",
        "l_returnflag <> 'N' and not l_comment like '%special%requests%'",
    ],
    ids=["of the guide", "of query 6", "of query 12", "with a pattern"],
)
@pytest.mark.parametrize("way", ["--by l_orderkey", "--range l_extendedprice:desc,l_comment", "--round-robin"])
def test_the_rows_chosen_are_those_of_a_database(lineitem: Path, tmp_path: Path, condition: str, way: str) -> None:
    columns = ["l_orderkey", "l_linenumber", "l_tax"]
    flags = f'{way} --partitions 8 --where "{condition}" --columns {",".join(columns)} --memory 1MiB'
    report = json_of(f"shuffle partition {lineitem} {flags} -o out.arrow --json", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        spill.verify()
        rows = spill.read(0, 8)
        counts = [spill.read(partition).num_rows for partition in range(8)]
    order = "order by l_orderkey, l_linenumber"
    selected = duckdb.execute(f"select {', '.join(columns)} from '{lineitem}' where {condition} {order}").fetchall()
    in_order = rows.sort_by([("l_orderkey", "ascending"), ("l_linenumber", "ascending")])
    assert [tuple(row.values()) for row in in_order.to_pylist()] == selected
    assert report["row_count"] == len(selected) > 100
    if not way.startswith("--by"):
        assert max(counts) < 1.2 * len(selected) / 8 + 1


def test_ranges_of_prices_follow_each_other(lineitem: Path, tmp_path: Path) -> None:
    json_of(f"shuffle partition {lineitem} --range l_extendedprice:desc --partitions 8 -o out.arrow --json", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        prices = [spill.read(partition)["l_extendedprice"] for partition in range(8)]
    extremes = [pa.compute.min_max(each).as_py() for each in prices]
    assert all(higher["min"] > lower["max"] for higher, lower in itertools.pairwise(extremes))
    whole = pa.parquet.read_table(lineitem, columns=["l_extendedprice"])["l_extendedprice"]
    assert sorted(itertools.chain.from_iterable(each.to_pylist() for each in prices)) == sorted(whole.to_pylist())
