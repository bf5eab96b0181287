"""The table of bots: one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from derivfleet.common.spans import Attribute
from helm.dashboards.panels import level, query, table_of_queries
from helm.dashboards.promql import Window, counted, label, quantile
from helm.dashboards.span_selectors import (
    DEADLINE_MS,
    DERIV_CALLS,
    GATEWAY,
    GATEWAY_ERRORS,
    PURCHASES,
    SETTLED,
    SETTLEMENTS,
    TICK_MS,
    TRADES,
    WAITS,
)
from helm.dashboards.variables import trade_url

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
    from grafana_foundation_sdk.builders.table import Panel

__all__ = ["bots_table"]

BOT = Attribute.BOT
RANGE = Window.RANGE


class Column(NamedTuple):
    """One figure of every bot."""

    title: str
    expression: str
    unit: str = "short"
    levels: ThresholdsConfig | None = None


def _columns() -> list[Column]:
    slow = level(TICK_MS, DEADLINE_MS)
    return [
        Column("Trades", counted(TRADES, BOT)),
        Column("Settled", counted(SETTLED, BOT)),
        Column("Calls", counted(GATEWAY, BOT)),
        Column("Errors", counted(GATEWAY_ERRORS, BOT), levels=level(1, 10)),
        Column("Calls to Deriv", counted(DERIV_CALLS, BOT)),
        Column("Wait p95", quantile(0.95, WAITS, BOT, window=RANGE), "ms", slow),
        Column("Purchase p50", quantile(0.5, PURCHASES, BOT, window=RANGE), "ms", slow),
        Column("Purchase p95", quantile(0.95, PURCHASES, BOT, window=RANGE), "ms", slow),
        Column("Purchase p99", quantile(0.99, PURCHASES, BOT, window=RANGE), "ms", slow),
        Column("Settlement p50", quantile(0.5, SETTLEMENTS, BOT, window=RANGE), "ms"),
    ]


def bots_table() -> Panel:
    """Every bot that did anything within the range; a click on its name leads to its trades."""
    columns = dict(zip("ABCDEFGHIJ", _columns(), strict=True))
    panel = table_of_queries(
        "Bots",
        "One row a bot, over the whole range. gateway is the gateway itself: its calls for balances, news and "
        "reconciling. Money is not here: the fleet's report knows it to the cent.",
        [query(column.expression, ref=ref, instant=True) for ref, column in columns.items()],
    )
    # A query's column is named after its letter; rows of one bot become one row.
    names = {label(BOT): "Bot"} | {f"Value #{ref}": column.title for ref, column in columns.items()}
    order = {name: index for index, name in enumerate(names)}
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            "organize", options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
        )
    )
    panel.override_by_name(
        "Bot", [DynamicConfigValue("links", [{"title": "Trades of this bot", "url": trade_url(bot="${__value.raw}")}])]
    )
    for column in columns.values():
        look = [DynamicConfigValue("unit", column.unit), DynamicConfigValue("noValue", "–")]
        if column.unit == "short":
            look.append(DynamicConfigValue("decimals", 0))
        if column.levels is not None:
            look.append(DynamicConfigValue("thresholds", column.levels.build()))
            look.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel.override_by_name(column.title, look)
    return panel.sort_by([common.TableSortByFieldState().display_name("Trades").desc(desc=True)]).filterable(
        filterable=True
    )
