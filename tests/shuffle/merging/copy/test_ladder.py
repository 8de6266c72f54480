"""The way from one copy method to the next, and what copying took in all."""

import errno
from pathlib import Path

import pytest

from shuffle.merging.copy.ladder import CopyResult, copy_span
from shuffle.report import Fallback, MethodUse
from shuffle.testing import Always, Fail, ScriptedKernel, Short, Zero
from shuffle.testing.opaque import OpaqueSources


def test_the_next_method_goes_on_where_one_stops(tmp_path: Path) -> None:
    sources = OpaqueSources(tmp_path, [[100, 60]], 8)
    kernel = ScriptedKernel({"copy_file_range": [Short(110), Fail(errno.EXDEV)], "sendfile": [Short(20), Zero()]})
    with sources.job(kernel) as job:
        result = copy_span(job, ["copy_file_range", "sendfile", "buffered"], 8, 168)

    assert sources.written() == sources.merged
    first, second = result.fallbacks
    assert first == Fallback("copy_file_range", 118, 1, "the two files are on different file systems", errno.EXDEV)
    assert (second.method, second.position, second.partition, second.errno) == ("sendfile", 138, 1, None)
    assert {name: use.byte_count for name, use in result.methods.items()} == {
        "copy_file_range": 110,
        "sendfile": 20,
        "buffered": 30,
    }


def test_a_ladder_whose_last_method_stops_is_a_defect(tmp_path: Path) -> None:
    kernel = ScriptedKernel({"copy_file_range": [Always(Fail(errno.EXDEV))], "sendfile": [Zero()]})
    with (
        OpaqueSources(tmp_path, [[10]]).job(kernel) as job,
        pytest.raises(RuntimeError, match=r"the last copy method, sendfile, stopped at 0: (?!the two files)"),
    ):
        copy_span(job, ["copy_file_range", "copy_file_range", "sendfile"], 0, 10)


def test_results_of_spans_add_up() -> None:
    fallback = Fallback("clone", 4096, 1, "no", None)
    total = CopyResult({"clone": MethodUse(10, 2), "gather": MethodUse(1, 1)})
    total.add(CopyResult({"gather": MethodUse(5, 3), "buffered": MethodUse(7, 4)}, [fallback]))

    assert total == CopyResult(
        {"clone": MethodUse(10, 2), "gather": MethodUse(6, 4), "buffered": MethodUse(7, 4)}, [fallback]
    )
