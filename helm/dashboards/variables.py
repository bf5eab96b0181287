"""What both dashboards have above their panels: data sources and bots to choose, and the ways between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.models.common import DataSourceRef, TimeZoneBrowser
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from derivfleet.common.spans import Attribute, SpanName
from helm.dashboards.promql import CALLS, Spans, label

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "METRICS",
    "OVERVIEW_UID",
    "TAG",
    "TRACES",
    "TRADE_UID",
    "bot_variable",
    "fleet_dashboard",
    "metrics_variable",
    "text_variable",
    "traces_variable",
    "trade_url",
]

OVERVIEW_UID = "derivfleet-overview"
TRADE_UID = "derivfleet-trade"
TAG = "derivfleet"

METRICS = DataSourceRef(type_val="prometheus", uid="${metrics}")
TRACES = DataSourceRef(type_val="tempo", uid="${traces}")


def metrics_variable() -> DatasourceVariable:
    """Which Prometheus."""
    described = "The Prometheus that holds the Collector's span metrics."
    return DatasourceVariable("metrics").label("Metrics").type("prometheus").description(described)


def traces_variable() -> DatasourceVariable:
    """Which Tempo."""
    described = "The Tempo that holds the fleet's traces."
    return DatasourceVariable("traces").label("Traces").type("tempo").description(described)


def bot_variable() -> QueryVariable:
    """Which bots, all by default.

    Bots are those that have traded: a trade's span is its bot's own. "All" is a pattern and no list, so that what the
    gateway does for itself is in it.
    """
    trades = Spans((SpanName.TRADE,), of_chosen_bots=False)
    query = f"label_values({CALLS}{trades.selector}, {label(Attribute.BOT)})"
    return (
        QueryVariable("bot")
        .label("Bot")
        .description("Bots that have traded within the range. All includes the gateway's own calls.")
        .datasource(METRICS)
        .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def text_variable(name: str, label: str, description: str) -> TextBoxVariable:
    """Something to type or paste; empty at first."""
    empty = VariableOption(selected=True, text="", value="")
    return TextBoxVariable(name).label(label).description(description).default_value("").current(empty)


def fleet_dashboard(title: str, uid: str, described: str) -> Dashboard:
    """An empty dashboard with what all have: the tag, the range, the way to the others."""
    others = (
        DashboardLink("Fleet")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .tooltip("The dashboards of the fleet, with the same range and bots")
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    return (
        Dashboard(title)
        .uid(uid)
        .description(described)
        .tags([TAG])
        .timezone(TimeZoneBrowser)
        .time("now-30m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others)
    )


def trade_url(keep: Iterable[str] = ("metrics",), **variables: str) -> str:
    """Where a value leads: the dashboard of one trade, in the same range; variables are kept or set."""
    kept = [f"${{{name}:queryparam}}" for name in keep]
    chosen = [f"var-{name}={value}" for name, value in variables.items()]
    return f"/d/{TRADE_UID}?" + "&".join(["${__url_time_range}", *kept, *chosen])
