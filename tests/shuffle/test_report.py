"""What reports say to people and to programs."""

import json
from typing import Any

import pytest

from shuffle.report import Fallback, MapReport, MergeReport, MethodUse


def report_of(methods: dict[str, MethodUse], seconds: float = 2.0) -> MergeReport:
    return MergeReport(
        target="out.arrow",
        source_count=3,
        partition_count=4,
        row_count=50,
        range_count=12,
        segment_count=11,
        byte_count=8 << 20,
        target_bytes=(8 << 20) + 500,
        methods=methods,
        fallbacks=(Fallback("copy_file_range", 64, 0, "different file systems", 18),),
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({}, "nothing to copy"),
        ({"sendfile": MethodUse(8 << 20, 11)}, "sendfile 8.0 MiB in 11 calls"),
        (
            {"copy_file_range": MethodUse(0, 0), "buffered": MethodUse(8 << 20, 20)},
            "copy_file_range 0 bytes in 0 calls, buffered 8.0 MiB in 20 calls",
        ),
    ],
)
def test_a_report_is_one_line(methods: dict[str, MethodUse], told: str) -> None:
    line = "3 sources, 4 partitions, 50 rows, 8.0 MiB in 2.000 s (4 MiB/s): "
    assert str(report_of(methods)) == line + told


def test_a_merge_that_took_no_time_has_a_rate_all_the_same() -> None:
    assert "in 0.000 s" in str(report_of({}, seconds=0.0))


def test_a_report_is_json() -> None:
    report = report_of({"sendfile": MethodUse(8 << 20, 11)})
    decoded = json.loads(json.dumps(report.as_dict()))
    assert decoded["methods"] == {"sendfile": {"byte_count": 8 << 20, "system_calls": 11}}
    assert decoded["fallbacks"] == [
        {"method": "copy_file_range", "position": 64, "partition": 0, "reason": "different file systems", "errno": 18}
    ]
    assert decoded["rebuilt"] is None


def test_a_map_report_holds_the_report_of_its_merge() -> None:
    report = MapReport(target="out.arrow", partition_count=4, row_count=50, target_bytes=9, merge=report_of({}))
    assert json.loads(json.dumps(report.as_dict()))["merge"]["segment_count"] == 11


@pytest.mark.parametrize(
    ("report", "text"),
    [
        ({"target": "out.arrow"}, "out.arrow: 5,000 rows in 4 partitions, 2.0 KiB, 0.000 s"),
        (
            {"target": "out.arrow", "spill_count": 2, "spills": ("a/1.arrow", "b/2.arrow")},
            "out.arrow: 5,000 rows in 4 partitions, 2.0 KiB, 2 spills kept in a, b, 0.000 s",
        ),
        (
            {"target": None, "spill_count": 2, "spilled_bytes": 10, "spills": ("1.arrow", "2.arrow")},
            "1.arrow … 2.arrow: 5,000 rows in 4 partitions, 10 bytes in 2 spills, 0.000 s",
        ),
    ],
)
def test_a_map_task_is_told_in_one_line(report: dict[str, Any], text: str) -> None:
    assert str(MapReport(partition_count=4, row_count=5000, target_bytes=2048, **report)) == text
