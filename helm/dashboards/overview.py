"""The fleet at a glance: what it does, what fails, how long each phase of a trade takes, how close the limits are."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from helm.dashboards.controls import OVERVIEW_UID, bot_variable, fleet_dashboard, metrics_variable
from helm.dashboards.headline import headline
from helm.dashboards.limits import limits
from helm.dashboards.phases import phases
from helm.dashboards.roster import roster
from helm.dashboards.work import work

__all__ = ["overview"]


def overview() -> Dashboard:
    """The whole dashboard, from span metrics alone."""
    built = fleet_dashboard(
        "derivfleet / Fleet",
        OVERVIEW_UID,
        "All bots of a fleet, from span metrics: what they do, what fails, where the time of a trade goes, and how "
        "close the account is to Deriv's limits.",
    )
    built.refresh("30s").with_variable(metrics_variable()).with_variable(bot_variable())
    for panel in headline():
        built.with_panel(panel)
    for title, panels in {
        "Work and errors": work(),
        "Phases of a trade": phases(),
        "Deriv and its limits": limits(),
    }.items():
        built.with_row(Row(title))
        for panel in panels:
            built.with_panel(panel)
    built.with_row(Row("Bots"))
    return built.with_panel(roster())
