"""The run's samples as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.process_samples import Series

__all__ = ["draw_chart"]

SHOWN = ("rss_mb", "descriptors", "tasks", "objects")


def draw_chart(series: dict[str, dict[str, Series]], fleet_h_per_wall_s: float, warm_s: float, target: Path) -> None:
    """One row an observable, one line a process, relative to the end of the warm-up; time in fleet hours."""
    figure: Any
    figure, axes = plt.subplots(len(SHOWN), 1, sharex=True, figsize=(9, 10))  # pyright: ignore[reportUnknownMemberType] - untyped
    for axis, observable in zip(axes, SHOWN, strict=True):
        for name, of_process in series.items():
            one = of_process.get(observable)
            if one is not None and one.values:
                hours = [at * fleet_h_per_wall_s for at in one.times]
                axis.plot(hours, one.values, label=name, linewidth=0.8)
        axis.axvline(warm_s * fleet_h_per_wall_s, color="grey", linestyle=":")
        axis.set_ylabel(observable)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("fleet hours")
    axes[0].legend(fontsize=6, ncol=5)
    figure.tight_layout()
    figure.savefig(target, dpi=90)
    plt.close(figure)
