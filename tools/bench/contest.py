"""Who merges: ours with each method, Spark, and the bound; each checked once to give the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shuffle import MergeOptions, merge
from shuffle.options import METHOD_NAMES, MethodName
from shuffle.report import MergeReport
from spill_format import SpillFile
from tools.bench.page_cache import touch_free_memory, write_new_file
from tools.bench.report import Run
from tools.bench.shapes import Sources
from tools.bench.spark import SparkMerger


class BenchmarkError(Exception):
    """What was measured is worth nothing; the message says why."""


class NotApplicableError(Exception):
    """A contestant or a shape that cannot be measured here; the message says why."""


class Contest:
    """One shape's sources, what can be done with them, and the targets that come of it.

    Args:
        sources: are in ``directory``, and targets will be.
        scratch: a directory on a disk, with room for one file of the sources' size.
        spark: warmed up.
    """

    def __init__(self, sources: Sources, directory: Path, scratch: Path, spark: SparkMerger) -> None:
        self._sources = sources
        self._directory = directory
        self._scratch = scratch
        self._spark = spark

    def runs(self) -> tuple[dict[str, Run], dict[str, str], tuple[str, ...]]:
        """The runs to take in turn; the methods left out, and why; and the methods that ``auto`` chose.

        Every contestant has merged once, and the bytes were the same.

        Raises:
            BenchmarkError: they were not.
        """
        reference = self._target("reference")
        chosen = tuple(self._merge("auto", reference)[1].methods)
        runs = {"ours": self._measured("ours", lambda target: self._merge("auto", target)[0])}
        runs["spark"] = self._checked(reference, "spark", self._merge_by_spark)
        runs["bound"] = self._measured("bound", self._write_bound)
        left_out: dict[str, str] = {}
        for method in METHOD_NAMES:
            try:
                runs[method] = self._checked(reference, method, self._single(method))
            except NotApplicableError as error:
                left_out[method] = str(error)
        _delete(reference)
        return runs, left_out, chosen

    def _measured(self, name: str, action: Callable[[Path], float]) -> Run:
        def run() -> float:
            target = self._target(name)
            touch_free_memory(self._scratch, self._sources.byte_count)
            seconds = action(target)
            _delete(target)
            return seconds

        return run

    def _checked(self, reference: Path, name: str, action: Callable[[Path], float]) -> Run:
        target = self._target(name)
        try:
            action(target)
            if not np.array_equal(self._ranges(reference), self._ranges(target)):
                raise BenchmarkError(f"{target}: other bytes than {reference}")
        finally:
            _delete(target)
        return self._measured(name, action)

    def _target(self, name: str) -> Path:
        return self._directory / f"merged-by-{name}{'.data' if name == 'spark' else self._sources.extension}"

    def _ranges(self, target: Path) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The bytes of all ranges of a target; they are what it begins with if it is none of ours."""
        start = 0
        if target.suffix == ".arrow":
            with SpillFile(target) as file:
                start = int(file.layout.offsets[0])
        return np.memmap(target, np.uint8, "r", offset=start, shape=(self._sources.byte_count,))

    def _merge(self, method: MethodName | Literal["auto"], target: Path) -> tuple[float, MergeReport]:
        options = MergeOptions(method=method, transfer_to="auto")
        started = time.perf_counter()
        report = merge(self._sources.paths, target, options)
        return time.perf_counter() - started, report

    def _single(self, method: MethodName) -> Callable[[Path], float]:
        def run(target: Path) -> float:
            seconds, report = self._merge(method, target)
            for fallback in report.fallbacks:
                if fallback.method == method:
                    raise NotApplicableError(fallback.reason)
            if method not in report.methods:
                raise NotApplicableError(f"{' and '.join(report.methods)} copied everything")
            return seconds

        return run

    def _merge_by_spark(self, target: Path) -> float:
        return self._spark.merge(self._sources.offsets_path, target, self._sources.paths)

    def _write_bound(self, target: Path) -> float:
        started = time.perf_counter()
        write_new_file(target, self._sources.byte_count)
        return time.perf_counter() - started


def _delete(target: Path) -> None:
    for path in (target, target.with_suffix(".index")):
        path.unlink(missing_ok=True)
