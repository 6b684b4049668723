"""Results to pictures, PNG and SVG: peers, throughput, latency, and what a crowd costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clusters import SIZES as CLUSTERS
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
    matplotlib.rcParams["svg.hashsalt"] = name  # the same drawing is the same file
    from matplotlib import pyplot

    size = (5.5, 3.2) if draw is peers else (7, 4.5)  # in inches; small ones have large letters
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    draw(axes, result)
    files = [folder / f"{name}.png", folder / f"{name}.svg"]
    for file in files:
        is_svg = file.suffix == ".svg"
        metadata = {"Date": None} if is_svg else None
        figure.savefig(file, dpi=120, metadata=metadata, transparent=is_svg)
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
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize="small")


def peers(axes: Any, result: Result) -> None:
    rates = {
        contestant: median(values["rate"] for values in samples)
        for contestant, samples in result.samples.items()
        if contestant != "untuned sketch"  # a floor, which nobody uses
    }
    names = sorted(rates, key=lambda name: rates[name])
    colors = ["C0" if name in result.ours else "C7" for name in names]
    bars = axes.barh(names, [rates[name] for name in names], color=colors)
    axes.bar_label(bars, [_short(rates[name]) for name in names], padding=4)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.margins(x=0.2)
    axes.set_title("Messages of 64 B per second, two OS processes", fontsize="medium")


def _short(rate: float) -> str:
    return f"{rate / 1e6:.2f} million" if rate >= 1e6 else f"{rate / 1e3:.3g} thousand"


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


def clusters(axes: Any, result: Result) -> None:
    _curves(axes, result, [(size, f"beat {size}") for size in CLUSTERS])
    axes.set(xscale="log", xlabel="simulated hosts of ten processes", ylabel="us per heartbeat")
    axes.set_ylim(bottom=0)
    axes.set_title("Simulated: what a heartbeat costs a master that all are linked to")


def reconnecting(axes: Any, result: Result) -> None:
    _curves(axes, result, [(size, f"reconnect {size}") for size in CLUSTERS])
    axes.set(xscale="log", xlabel="simulated hosts of ten processes", ylabel="virtual seconds")
    axes.set_ylim(bottom=0)
    axes.set_title("Simulated: all registered again after the crash of their master")


PLOTS: tuple[tuple[str, str, Callable[[Any, Result], None]], ...] = (
    ("peers", "one_way", peers),
    ("throughput", "bodies", throughput),
    ("latency", "ping_pong", latency),
    ("crowd", "crowd", crowd),
    ("clusters", "clusters", clusters),
    ("reconnecting", "clusters", reconnecting),
)
