"""Results to pictures, PNG and SVG: throughput, latency, and what a crowd costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.crowd import CROWDS
from benchmarks.harness import Result
from benchmarks.meters import PERCENTILES
from benchmarks.ping_pong import SETTINGS
from benchmarks.traffic import SIZES

Points = list[tuple[float, str]]
"""Where the points of a curve stand, and the metrics that they show."""


def plot_all(results: list[Result], folder: Path) -> list[Path]:
    """Draw what the results hold of each plot, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {result.scenario.name: result for result in results}
    files: list[Path] = []
    for name, scenario, draw in PLOTS:
        if scenario in by_name:
            files += _plot(name, by_name[scenario], draw, folder)
    return files


def _plot(
    name: str, result: Result, draw: Callable[[Any, Result], None], folder: Path
) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    draw(axes, result)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    files = [folder / f"{name}.png", folder / f"{name}.svg"]
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=120, metadata=metadata)
    pyplot.close(figure)
    return files


def _curves(axes: Any, result: Result, points: Points) -> None:
    for contestant, samples in result.samples.items():
        known = [
            (x, median(values[key] for values in samples if key in values))
            for x, key in points
            if any(key in values for values in samples)
        ]
        if known:
            style = "-" if contestant in result.ours else "--"
            axes.plot(*zip(*known, strict=True), style, marker="o", label=contestant)


def throughput(axes: Any, result: Result) -> None:
    _curves(axes, result, [(size, name) for name, size in SIZES.items()])
    axes.set(xscale="log", yscale="log", xlabel="body", ylabel="messages/s")
    axes.set_xticks(list(SIZES.values()), list(SIZES))
    axes.set_title("One-way between two OS processes")


def latency(axes: Any, result: Result) -> None:
    _curves(axes, result, [(x, f"apart p{p:g}") for x, p in enumerate(PERCENTILES)])
    axes.set(yscale="log", xlabel="percentile", ylabel="round trip, us")
    axes.set_xticks(range(len(PERCENTILES)), [f"p{p:g}" for p in PERCENTILES])
    axes.set_title(f"Ping-pong of 64 B between two OS processes, {SETTINGS['apart'][0]}")


def crowd(axes: Any, result: Result) -> None:
    _curves(axes, result, [(number, str(number)) for number in CROWDS])
    axes.set(xscale="log", xlabel="spawned processes", ylabel="ns per received message")
    axes.set_ylim(bottom=0)
    axes.set_title("Receiving while others live")


PLOTS: tuple[tuple[str, str, Callable[[Any, Result], None]], ...] = (
    ("throughput", "bodies", throughput),
    ("latency", "ping_pong", latency),
    ("crowd", "crowd", crowd),
)
