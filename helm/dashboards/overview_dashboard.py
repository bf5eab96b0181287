"""The fleet at a glance: what it does, what fails, how long each phase of a trade takes, how close the limits are."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from helm.dashboards.bots_table import bots_table
from helm.dashboards.deriv_limits import deriv_limits
from helm.dashboards.key_figures import key_figures
from helm.dashboards.trade_phases import trade_phases
from helm.dashboards.trades_and_errors import trades_and_errors
from helm.dashboards.variables import OVERVIEW_UID, bot_variable, fleet_dashboard, metrics_variable

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
    for panel in key_figures():
        built.with_panel(panel)
    for title, panels in {
        "Work and errors": trades_and_errors(),
        "Phases of a trade": trade_phases(),
        "Deriv and its limits": deriv_limits(),
    }.items():
        built.with_row(Row(title))
        for panel in panels:
            built.with_panel(panel)
    built.with_row(Row("Bots"))
    return built.with_panel(bots_table())
