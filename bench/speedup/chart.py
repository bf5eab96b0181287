"""The hour as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.speedup.figures import Figures

__all__ = ["draw"]

COLOURS = {"lock": "#9aa0a6", "sockets": "#e08a3c", "fleet": "#2a6fdb"}


def draw(figures: Mapping[str, Figures], titles: Mapping[str, str], allowed_per_min: float, path: Path) -> None:
    """Write a PNG: trades over the hour against what Deriv allows, trades a minute, double purchases, waiting."""
    picture = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    axes: Any = picture.subplots(2, 2)
    names = list(figures)
    colours = [COLOURS[name] for name in names]

    over_time = axes[0][0]
    for name, found in figures.items():
        minutes = [0.0, *(second / 60 for second in found.settled_s)]
        over_time.plot(minutes, range(len(minutes)), color=COLOURS[name], label=titles[name], linewidth=2)
    last_min = max((found.settled_s[-1] / 60 for found in figures.values() if found.settled_s), default=1.0)
    over_time.plot(
        [0, last_min],
        [0, last_min * allowed_per_min],
        color="black",
        linestyle=":",
        label="Deriv's hourly limit, evenly spent",
    )
    over_time.set(title="Settled trades over the hour", xlabel="minutes", ylabel="trades")
    over_time.legend(loc="upper left", fontsize=8)

    _bars(axes[0][1], "Settled trades a minute", names, colours, [found.trades_per_min for found in figures.values()])
    _bars(axes[1][0], "Purchases nobody asked for", names, colours, [found.duplicates for found in figures.values()])

    waiting = axes[1][1]
    for shift, part, alpha in ((-0.2, "p50", 0.5), (0.2, "p99", 1.0)):
        seconds = [found.op_ms[part] / 1000 for found in figures.values()]
        places = [index + shift for index in range(len(names))]
        drawn = waiting.bar(places, seconds, width=0.38, color=colours, alpha=alpha)
        waiting.bar_label(drawn, [f"{part}\n{value:.2f} s" for value in seconds], fontsize=8)
    waiting.set_yscale("log")
    waiting.margins(y=0.2)
    waiting.set_xticks(range(len(names)), names)
    waiting.set(title="How long a bot waits for one operation", ylabel="seconds")

    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    picture.savefig(path)  # pyright: ignore[reportUnknownMemberType] - it takes keywords of any kind


def _bars(axis: Any, title: str, names: list[str], colours: list[str], values: list[float]) -> None:
    drawn = axis.bar(names, values, color=colours)
    axis.bar_label(drawn, [f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in values])
    axis.margins(y=0.15)
    axis.set(title=title)
