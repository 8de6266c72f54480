"""What the last merge did, as a file that Prometheus' node exporter collects (``--collector.textfile``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shuffle.options import MergeOptions
from shuffle.report import MergeReport
from shuffle.warning import warn
from spill_format.errors import SpillError, in_words
from spill_format.storage.publication import open_pending


@contextmanager
def metrics_written(options: MergeOptions) -> Iterator[Callable[[MergeReport], None]]:
    """Replace the file of metrics, where one is asked for, when a merge ends; yield what is to be told its report."""
    reports = list[MergeReport]()
    try:
        yield reports.append
    finally:
        if options.metrics is not None and not options.dry_run:
            text = metrics_text(reports[-1] if reports else None, time.time())
            try:
                with open_pending(options.metrics, overwrite=True) as pending:
                    with pending.stream() as file:
                        file.write(text.encode())
                    pending.publish()
            except (OSError, SpillError) as error:  # the caller is told what the merge came to
                warn(f"{options.metrics}: the metrics could not be written: {in_words(error)}")


def metrics_text(report: MergeReport | None, now: float) -> str:
    """Return the metrics of a merge in Prometheus' text format.

    Args:
        report: of the merge; None for one that failed.
        now: the time, in seconds since 1970.
    """
    lines = list[str]()

    def add(name: str, explanation: str, values: dict[str, float]) -> None:
        lines.append(f"# HELP shuffle_merge_{name} {explanation}")
        lines.append(f"# TYPE shuffle_merge_{name} gauge")
        lines.extend(f"shuffle_merge_{name}{labels} {_number(value)}" for labels, value in values.items())

    add("success", "Whether the last merge made its target.", {"": report is not None})
    lines.append("# HELP shuffle_merge_finished_timestamp_seconds When the last merge ended.")
    lines.append("# TYPE shuffle_merge_finished_timestamp_seconds gauge")
    lines.append(f"shuffle_merge_finished_timestamp_seconds {now:.3f}")
    if report is not None:
        add("duration_seconds", "How long it took.", {"": report.seconds})
        add("sources", "Files merged.", {"": report.source_count})
        add("skipped_sources", "Damaged files that were left out.", {"": len(report.skipped)})
        add("rows", "Rows in the target.", {"": report.row_count or 0})
        add("target_bytes", "Size of the target.", {"": report.target_bytes})
        methods = {f'{{method="{name}"}}': float(use.byte_count) for name, use in report.methods.items()}
        add("copied_bytes", "Bytes that each copy method moved.", methods)
        add("fallbacks", "Copy methods that gave way to the next.", {"": len(report.fallbacks)})
        add("rebuilt", "Whether the target was rebuilt with buffered copying.", {"": report.rebuilt is not None})
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
