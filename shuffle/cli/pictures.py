"""Pictures of partition sizes for ``shuffle inspect --plot``: PNG, SVG, or an HTML page that needs nothing else.

Drawn with matplotlib, which is imported when a picture is asked for. Where there are more partitions than columns,
neighbours share one, which shows the largest of them: what is skewed stays visible.
"""

from __future__ import annotations

import html
import io
import math
import os
from typing import TYPE_CHECKING

import click
import numpy as np

from shuffle.cli.advice import advise
from shuffle.cli.inspect_text import facts_of
from shuffle.inspecting.inspection import Inspection
from shuffle.inspecting.sizes import SKEW_FACTOR, PartitionSizes, peaks
from shuffle.wording import counted, sized
from spill_format.storage.publication import open_pending

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".html")
_COLUMNS = 1000  # of a picture; more cannot be told apart
_ROWS = 400
_BARS = 200  # so many partitions have a bar each
_NAMED_FILES = 40
_LABELLED = 6
_ORDINARY, _SKEWED, _MEDIAN = "#4477aa", "#cc3311", "#222222"  # told apart by the colour-blind, too
_LABEL_WIDTH = 0.12  # of the picture's
_DOTS_PER_INCH = 150


def check_picture(path: str) -> None:
    """Raise ClickException unless a picture can be drawn into a file of this name."""
    if os.path.splitext(path)[1].lower() not in _SUFFIXES:
        raise click.ClickException(f"{path}: what kind of picture is it? Its name must end with {', '.join(_SUFFIXES)}")
    try:
        import matplotlib as mpl  # noqa: F401 (whether it is there)
    except ImportError as error:
        raise click.ClickException("pictures need matplotlib: pip install 'shuffle-merge[plot]'") from error


def draw(inspection: Inspection, path: str) -> None:
    """Draw partition sizes, those that are skewed marked; of several files also a heat map, file by partition.

    Args:
        inspection: of files of equal partition counts.
        path: ends in .png, .svg or .html; replaced if it exists.

    Raises:
        ClickException: there is no file to draw, or the files do not fit together.
        OSError: the picture cannot be written.
    """
    together = inspection.together
    if together is None:
        reason = "the files do not have the same partitions" if inspection.files else "there is no sound file"
        raise click.ClickException(f"{path}: nothing to draw: {reason}")
    kind = os.path.splitext(path)[1].lower()
    figure = _figure(inspection, together)
    picture = io.BytesIO()
    figure.savefig(picture, format="png" if kind == ".png" else "svg", dpi=_DOTS_PER_INCH)
    content = picture.getvalue()
    if kind == ".html":
        content = _page(inspection, together, content.decode()).encode()
    with open_pending(path, overwrite=True) as pending:
        with pending.stream() as file:
            file.write(content)
        pending.publish()


def _figure(inspection: Inspection, sizes: PartitionSizes) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    files = inspection.files
    named = len(files) <= _NAMED_FILES
    heat_inches = 0.0 if len(files) < 2 else min(max(2.2, 0.24 * len(files)), 8.0)
    figure = Figure(figsize=(12, 4.6 + heat_inches), layout="constrained")
    title = files[0].path if len(files) == 1 else counted(len(files), "file")
    figure.suptitle(f"{title}: {sizes}")
    if heat_inches:
        upper, lower = figure.subplots(2, 1, height_ratios=(4, heat_inches), sharex=True)
        _draw_heat(figure, lower, inspection, named=named)
    else:
        upper = lower = figure.subplots()
    _draw_sizes(upper, sizes)
    lower.set_xlabel("partition")
    lower.xaxis.set_major_locator(MaxNLocator(20 if sizes.partition_count <= 1000 else 10, integer=True, min_n_ticks=1))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    upper.set_xlim(-0.5, sizes.partition_count - 0.5)
    return figure


def _draw_sizes(axes: Axes, sizes: PartitionSizes) -> None:
    """Bytes by partition as bars, or as an area where there are too many for bars."""
    count, skewed = sizes.partition_count, sizes.skewed_partitions
    if count <= _BARS:
        is_skewed = np.isin(np.arange(count), skewed)
        colours = np.where(is_skewed, _SKEWED, _ORDINARY)
        axes.bar(np.arange(count), sizes.byte_counts, width=0.8, color=colours.tolist())
    else:
        shown = peaks(sizes.byte_counts, _COLUMNS)
        edges = np.arange(len(shown) + 1) * count // len(shown) - 0.5
        axes.stairs(shown, edges, fill=True, color=_ORDINARY)
        axes.plot(skewed, sizes.byte_counts[skewed], linestyle="none", marker="o", markersize=4, color=_SKEWED)
    median = sizes.filled_median_bytes
    axes.axhline(median, color=_MEDIAN, linewidth=1, linestyle="--")
    _use_bytes(axes, sizes)
    _label(axes, sizes)
    words = [f"median of those with rows {sized(median)} (dashed)", f"{sizes.empty_count:,} empty"]
    if len(skewed):
        words.append(f"{len(skewed):,} of {SKEW_FACTOR} times the median or more (red)")
    if sizes.gini is not None:
        words.append(f"Gini {sizes.gini:.2f}")
    axes.set_title("; ".join(words), fontsize=10)


def _label(axes: Axes, sizes: PartitionSizes) -> None:
    """Number and size of the largest of the skewed partitions, as far as there is room beside each other."""
    last = max(sizes.partition_count - 1, 1)
    labelled: list[float] = []
    for partition in sizes.skewed_partitions.tolist():
        place = partition / last
        if len(labelled) == _LABELLED or any(abs(place - other) < _LABEL_WIDTH for other in labelled):
            continue
        labelled.append(place)
        byte_count = int(sizes.byte_counts[partition])
        axes.annotate(
            f"{partition}: {sized(byte_count)}",
            (partition, byte_count),
            xytext=(0, 5),
            textcoords="offset points",
            ha="left" if place < _LABEL_WIDTH / 2 else "right" if place > 1 - _LABEL_WIDTH / 2 else "center",
            color=_SKEWED,
            fontsize=9,
        )


def _use_bytes(axes: Axes, sizes: PartitionSizes) -> None:
    """An axis of bytes, logarithmic where ordinary partitions could not be seen beside the largest."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    median, largest = sizes.filled_median_bytes, max(sizes.largest_bytes, 1)
    if median and largest > 20 * median:
        axes.set_yscale("symlog", linthresh=max(median / 10, 1), base=2)
        axes.set_ylim(0, 3 * largest)
    else:
        axes.yaxis.set_major_locator(MultipleLocator(2 ** max(math.floor(math.log2(largest / 4)), 0)))
        axes.set_ylim(0, 1.15 * largest)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: sized(value)))
    axes.set_ylabel("bytes")


def _draw_heat(figure: Figure, axes: Axes, inspection: Inspection, *, named: bool) -> None:
    """Files from top to bottom, partitions from left to right, darker where there are more bytes; white where none."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    sizes = [file.sizes for file in inspection.files if file.sizes is not None]
    cells = np.array([peaks(each.byte_counts, _COLUMNS) for each in sizes])
    rows = np.array([peaks(column, _ROWS) for column in cells.T]).T
    filled = rows[rows > 0]
    least, most = (int(filled.min()), int(filled.max())) if len(filled) else (1, 1)
    image = axes.imshow(
        np.ma.masked_equal(rows, 0),
        aspect="auto",
        interpolation="nearest",
        cmap="viridis_r",
        norm=LogNorm(least, max(most, least + 1)),
        extent=(-0.5, sizes[0].partition_count - 0.5, len(sizes) - 0.5, -0.5),
    )
    bar = figure.colorbar(
        image, ax=axes, pad=0.01, ticks=LogLocator(2, numticks=8), format=FuncFormatter(lambda value, _: sized(value))
    )
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label("bytes of a range")
    if named:
        names = [os.path.basename(file.path) for file in inspection.files]
        axes.set_yticks(range(len(names)), names, fontsize=8)
    else:
        axes.set_ylabel("file")
    axes.set_title("file by partition; white is empty", fontsize=10)


def _page(inspection: Inspection, sizes: PartitionSizes, picture: str) -> str:
    """An HTML page with the picture, the facts and the advice, which loads nothing."""
    files = inspection.files
    title = html.escape(files[0].path if len(files) == 1 else counted(len(files), "file"))
    facts = facts_of(inspection, sizes)
    rows = "\n".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in facts)
    advice = "\n".join(f"<li>{html.escape(sentence)}</li>" for sentence in advise(files, sizes))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}: partition sizes</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}
th {{ text-align: left; font-weight: 600; padding-right: 1.5rem; vertical-align: top; }}
</style>
<h1>{title}</h1>
<table>
{rows}
</table>
{f"<ul>{advice}</ul>" if advice else ""}
{picture[picture.index("<svg") :]}
</html>
"""
