"""Chart of cost by number of sockets. Imports matplotlib, which only the `bench` dependency group has."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .benchmark import Benchmark
from .label_layout import space_labels
from .measurement import Result
from .readers import BASELINE, COLD, NAMES, TCPSTAT, WARM
from .targets import MILLISECONDS

_COLORS: Final = {WARM: "#0b6bcb", COLD: "#0b6bcb", TCPSTAT: "#c2410c", BASELINE: "#15803d"}
_GREY: Final = "#6b7280"
_DASHED: Final = frozenset({COLD})
_MIN_LABEL_DISTANCE: Final = 0.062
"""Minimum distance of two labels, as a fraction of the height."""


def draw_chart(benchmark: Benchmark, file: Path) -> None:
    """Write the chart, on white, which stays readable on a dark page."""
    # Reproducible output; text is not converted to paths.
    mpl.rcParams.update({"svg.hashsalt": "benchmark", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure = Figure(figsize=(8.4, 5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for name in NAMES:
        _line(axes, benchmark, name)
    _scales(axes, benchmark)
    _labels(axes, benchmark)
    figure.suptitle(_title(benchmark), x=0.01, horizontalalignment="left", fontsize=11.5, fontweight="bold")
    figure.savefig(file, metadata={"Date": None})


def _line(axes: Axes, benchmark: Benchmark, name: str) -> None:
    measured = [size for size in benchmark.sizes if name in size.results]
    axes.plot(
        [size.sockets for size in measured],
        [size.results[name].seconds * MILLISECONDS for size in measured],
        color=_COLORS.get(name, _GREY),
        linestyle="--" if name in _DASHED else "-",
        linewidth=2.4 if name == WARM else 1.4,
        marker="o",
        markersize=4,
    )


def _scales(axes: Axes, benchmark: Benchmark) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(
        [size.sockets for size in benchmark.sizes], [f"{size.wanted:,}" for size in benchmark.sizes]
    )
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:,g} ms")
    axes.set_xlabel("TCP sockets, half of them in TIME_WAIT")
    axes.grid(visible=True, color="#e5e7eb")
    axes.spines[["top", "right"]].set_visible(False)


def _labels(axes: Axes, benchmark: Benchmark) -> None:
    """Label each line with name and time at its right end."""
    results = benchmark.largest.results
    bottom, top = map(log, axes.get_ylim())
    heights = [(log(result.seconds * MILLISECONDS) - bottom) / (top - bottom) for result in results.values()]
    for (name, result), height in zip(
        results.items(), space_labels(heights, _MIN_LABEL_DISTANCE), strict=True
    ):
        axes.annotate(
            _label(name, result),
            (1.01, height),
            xycoords="axes fraction",
            verticalalignment="center",
            color=_COLORS.get(name, _GREY),
            fontweight="bold" if name == WARM else "normal",
            fontsize=9.5,
        )


def _label(name: str, result: Result) -> str:
    return f"{name}  {result.seconds * MILLISECONDS:,.0f} ms"


def _title(benchmark: Benchmark) -> str:
    """Return the main result as a sentence."""
    size = benchmark.largest
    milliseconds = size.results[WARM].seconds * MILLISECONDS
    said = f"{size.wanted:,} sockets by process, port and state in {milliseconds:,.0f} ms"
    ratio = benchmark.ratio(size, WARM, TCPSTAT)
    return said if ratio is None else f"{said},\n{ratio:.2f} x the time in which node_exporter counts states"
