"""A page of HTML that shows which task of a job ran when on which host. It needs nothing but a browser."""

from __future__ import annotations

from html import escape
from itertools import groupby

from shuffle.jobs.report import JobReport, Span

_ROW = 14
_WIDTH = 1000
_COLOURS = {"map": "#4878a8", "merge": "#b08030", "reduce": "#58955c"}
_STYLE = "body{font:13px sans-serif;margin:2em}td,th{text-align:right;padding:2px 10px}svg{background:#f6f6f6}"


def timeline_page(report: JobReport) -> str:
    """The page: totals, a row of bars for each slot of each host, and what was done again."""
    stages = "".join(
        f"<tr><th>{name}<td>{stage.tasks}<td>{stage.attempts}<td>{stage.rows}<td>{stage.bytes_local}"
        f"<td>{stage.bytes_fetched}<td>{stage.seconds:.3f}"
        for name, stage in report.stages.items()
    )
    retries = "".join(
        f"<li>{retry.seconds:.2f} s: {retry.stage} task {retry.number}: {escape(retry.reason)}"
        for retry in report.retries
    )
    charts = "".join(
        f"<h3>{escape(host or 'no answer')}</h3>{_chart(list(spans), report.seconds)}"
        for host, spans in groupby(sorted(report.spans, key=lambda span: (span.host, span.start)), lambda s: s.host)
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(report.job)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(str(report))}</h1><table><tr><th><th>tasks<th>attempts<th>rows<th>bytes on the host"
        f"<th>bytes fetched<th>seconds{stages}</table>{charts}<h3>Done again</h3><ul>{retries or '<li>nothing'}</ul>"
    )


def _chart(spans: list[Span], seconds: float) -> str:
    """Bars of the tasks of one host, in as few rows as they run side by side."""
    ends: list[float] = []
    bars = []
    scale = _WIDTH / max(seconds, 1e-9)
    for span in spans:
        row = next((number for number, end in enumerate(ends) if end <= span.start), len(ends))
        ends[row:] = [span.stop, *ends[row + 1 :]]
        said = f"{span.stage} {span.number}: {span.start:.3f} to {span.stop:.3f} s, {span.outcome}"
        opacity = 1 if span.outcome == "done" else 0.35
        bars.append(
            f'<rect x="{span.start * scale:.1f}" y="{row * _ROW}" height="{_ROW - 2}" opacity="{opacity}" '
            f'width="{max((span.stop - span.start) * scale, 1):.1f}" fill="{_COLOURS[span.stage]}">'
            f"<title>{escape(said)}</title></rect>"
        )
    return f'<svg width="{_WIDTH}" height="{len(ends) * _ROW}">{"".join(bars)}</svg>'
