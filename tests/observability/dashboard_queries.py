"""What the dashboards ask: every query in their JSON, with Grafana's variables filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DASHBOARDS", "DashboardQuery", "dashboard_queries", "dashboards", "filled"]

DASHBOARDS = Path(__file__).resolve().parents[2] / "helm/derivfleet/dashboards"
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


@dataclass(frozen=True, slots=True)
class DashboardQuery:
    """One query of one panel. ``instant`` is true for a PromQL query that asks for one moment."""

    dashboard: str
    panel: str
    language: str
    text: str
    instant: bool = False

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}"


def dashboards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def dashboard_queries() -> Iterator[DashboardQuery]:
    """Every query, variables and all; those that fill the variables themselves too."""
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield DashboardQuery(name, f"${variable['name']}", "variable", variable["query"]["query"])
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "prometheus":
                    yield DashboardQuery(name, panel["title"], "promql", target["expr"], target.get("instant", False))
                else:
                    yield DashboardQuery(name, panel["title"], target["queryType"], target["query"])


def filled(text: str, values: Mapping[str, str]) -> str:
    """A query as Grafana would send it. Raises KeyError for a variable that has no value."""
    return _VARIABLE.sub(lambda found: values[found[1]], text)
