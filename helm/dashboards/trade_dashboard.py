"""One trade's path: find it by order or bot, see its trace, compare its phases with the usual."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, tempo, text
from grafana_foundation_sdk.builders.dashboard import CustomVariable, Dashboard, Panel, Row
from grafana_foundation_sdk.models.common import BarGaugeDisplayMode, TableBarGaugeCellOptions
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue, VariableOption
from grafana_foundation_sdk.models.tempo import TempoQueryType
from grafana_foundation_sdk.models.text import TextMode

from derivfleet.common.spans import SPANS, Attribute, SpanName
from helm.dashboards.panels import SPANS_SHOWN, found, query, table_of_queries
from helm.dashboards.promql import SPAN, Spans, Window, quantile
from helm.dashboards.traceql import CHOSEN_TRACE, Search
from helm.dashboards.trade_phases import QUANTILES
from helm.dashboards.variables import (
    TRACES,
    TRADE_UID,
    bot_variable,
    fleet_dashboard,
    metrics_variable,
    text_variable,
    traces_variable,
    trade_url,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.table import Panel as Table

__all__ = ["trade"]

ORDER, BOT, SYMBOL, STATE, CODE = (
    Attribute.ORDER_ID,
    Attribute.BOT,
    Attribute.SYMBOL,
    Attribute.STATE,
    Attribute.ERROR_CODE,
)
TITLES = {
    ORDER: "Order",
    BOT: "Bot",
    SYMBOL: "Symbol",
    STATE: "State",
    CODE: "Error",
    Attribute.CONTRACT_TYPE: "Contract",
    Attribute.STAKE: "Stake",
    Attribute.PROFIT: "Profit",
    Attribute.CALL: "Call",
    Attribute.BUCKET: "Waited for",
    Attribute.CONNECTION: "Connection",
}

ALL_TRADES = Search(
    SpanName.TRADE, (ORDER, BOT, SYMBOL, Attribute.CONTRACT_TYPE, Attribute.STAKE, STATE, Attribute.PROFIT, CODE)
)
FAILED_TRADES = Search(SpanName.TRADE, (ORDER, BOT, SYMBOL, STATE, CODE), "status = error")
SLOW_PURCHASES = Search(SpanName.BUY, (ORDER, BOT, CODE), "duration > ${slower}")
SALES = Search(SpanName.GATEWAY_SELL, (ORDER, BOT, STATE, CODE))
CHECKS = Search(SpanName.GATEWAY_CHECK, (ORDER, BOT, CODE))

PHASES = Spans(
    (SpanName.DECIDE, SpanName.BUY, SpanName.GATEWAY_BUY, SpanName.QUOTA_WAIT, SpanName.DERIV_CALL, SpanName.SETTLE)
)

HOW_TO = """\
**1** Narrow the list by bot, or paste an order id (or a part of it) above. \
**2** Click an order. **3** Its trace opens below; each bar is one span.

{tree}

An order id reads `bot:symbol:tick:ordinal`. Logs carry the same order id and trace id.
"""


def trade() -> Dashboard:
    """The whole dashboard; all but the usual durations comes from traces."""
    built = fleet_dashboard(
        "derivfleet / One trade's path",
        TRADE_UID,
        "Find a trade by its order id or bot, and follow it from the tick that made the bot decide, through the "
        "gateway's queue and Deriv, to its settlement.",
    )
    for variable in (traces_variable(), metrics_variable(), bot_variable()):
        built.with_variable(variable)
    built.with_variable(
        text_variable(
            "order", "Order", "An order id, or a part of one: over-4:1HZ100V:1753790000:0, 1HZ100V, :1753790000:"
        )
    )
    built.with_variable(
        text_variable("trace", "Trace", "The trace that is shown: 32 hex digits. A click on an order sets it.")
    )
    built.with_variable(_slower())
    built.with_panel(_how_to().span(7).height(12))
    built.with_panel(_trades().span(17).height(12))
    built.with_row(Row("The chosen trade"))
    built.with_panel(_trace())
    built.with_panel(_breakdown())
    built.with_panel(_usual())
    built.with_row(Row("Where to look"))
    for panel in (
        found(
            "Trades that failed",
            "Trades whose end carries an error: refused, rejected, denied, lost.",
            str(FAILED_TRADES),
            30,
        ),
        found(
            "Slow purchases",
            "Purchases that took longer than the duration chosen above, as the bot saw them.",
            str(SLOW_PURCHASES),
            30,
        ),
        found(
            "Sales",
            "Sales before the contract's end. A sale is a trace of its own: the bot's wish, later.",
            str(SALES),
            30,
        ),
        found("Checks", "Questions about open contracts: what would it bring now?", str(CHECKS), 30),
    ):
        built.with_panel(_linked(panel).span(12))
    return built


def _trades() -> Table:
    described = "Trades that ended within the range, the latest first. A click on an order shows its trace below."
    latest = common.TableSortByFieldState().display_name("Start time").desc(desc=True)
    return _linked(found("Trades", described, str(ALL_TRADES), 50)).sort_by([latest])


def _slower() -> CustomVariable:
    described = "From which duration on a purchase is listed as slow."
    chosen = VariableOption(selected=True, text="500ms", value="500ms")
    durations = CustomVariable("slower").label("Slower than").description(described)
    return durations.values("100ms,250ms,500ms,1s,2s,5s").current(chosen)


def _how_to() -> text.Panel:
    shown = {SpanName.TRADE: 0, SpanName.DECIDE: 1, SpanName.BUY: 1, SpanName.GATEWAY_BUY: 2, SpanName.QUOTA_WAIT: 3}
    shown |= {SpanName.DERIV_CALL: 3, SpanName.SETTLE: 3, SpanName.FOLLOW: 1}
    tree = "\n".join(f"{'  ' * depth}- `{name}`: {SPANS[name].measures}" for name, depth in shown.items())
    return text.Panel().title("How to read it").mode(TextMode.MARKDOWN).content(HOW_TO.format(tree=tree))


def _linked(panel: Table) -> Table:
    """A click on an order, or on a span, shows its trace on this dashboard."""
    here = {
        "title": "Show this trade",
        "url": trade_url(("metrics", "traces", "bot", "order", "slower"), trace="${__data.fields.traceIdHidden}"),
    }
    for name in (ORDER, "spanID"):
        panel.override_by_name(name, [DynamicConfigValue("links", [here])])
    return _titled(panel)


def _titled(panel: Table) -> Table:
    for attribute, title in TITLES.items():
        panel.override_by_name(attribute, [DynamicConfigValue("displayName", title)])
    hidden = dict.fromkeys(("Trace Service", "Trace Name"), True)
    return panel.with_transformation(DataTransformerConfig("organize", options={"excludeByName": hidden}))


def _trace() -> Panel:
    # The trace panel has no options, and so no builder of its own.
    asked = (
        tempo.Dataquery()
        .ref_id("A")
        .datasource(TRACES)
        .query_type(TempoQueryType.TRACEQL)
        .query("${trace}")
        .filters([])
    )
    return (
        Panel()
        .type("traces")
        .title("Trace")
        .description(
            "Every span of the trade, across bot and gateway. Empty until an order is clicked or a trace id given."
        )
        .datasource(TRACES)
        .with_target(asked)
        .height(18)
        .span(24)
    )


def _breakdown() -> Table:
    panel = _titled(
        found(
            "Where its time went",
            "The same spans by duration. A settlement lasts as long as its contract; what is left of the purchase "
            "without quota.wait and deriv.call is our own time.",
            CHOSEN_TRACE,
            1,
            spans_each=SPANS_SHOWN,
        )
    )
    bar = TableBarGaugeCellOptions(mode=BarGaugeDisplayMode.BASIC)
    panel.override_by_name("duration", [DynamicConfigValue("custom.cellOptions", bar), DynamicConfigValue("min", 0)])
    return panel.span(14).sort_by([common.TableSortByFieldState().display_name("Start time")])


def _usual() -> Table:
    columns = {
        ref: (name, quantile(part, PHASES, SPAN, window=Window.RANGE))
        for ref, (name, part) in zip("ABC", QUANTILES.items(), strict=True)
    }
    panel = table_of_queries(
        "What is usual",
        "The same phases of all trades of the chosen bots within the range, to compare with.",
        [query(expression, ref=ref, instant=True) for ref, (_, expression) in columns.items()],
    )
    names = {SPAN: "Phase"} | {f"Value #{ref}": name for ref, (name, _) in columns.items()}
    options = {"excludeByName": {"Time": True}, "renameByName": names}
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    panel.with_transformation(DataTransformerConfig("organize", options=options))
    return panel.unit("ms").span(10).height(9)
