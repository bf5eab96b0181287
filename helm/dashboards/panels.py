"""How panels look: curves, figures, tables. No colour is chosen but for good, warning and bad, so both themes suit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType, TempoQueryType

from helm.dashboards.variables import METRICS, TRACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "SPANS_SHOWN",
    "alarming",
    "coloured",
    "curves",
    "events",
    "figure",
    "found",
    "level",
    "linked",
    "query",
    "stacked",
    "table_of_queries",
    "with_levels",
]

GOOD, WARNING, BAD = "green", "orange", "red"
SPANS_SHOWN = 100
"""Of a trace; a trade has about ten, and a few more for each time it was asked again."""


def level(warning: float | None, bad: float) -> ThresholdsConfig:
    """Good below ``warning``, bad from ``bad`` on."""
    steps = [Threshold(color=GOOD, value=None)]
    if warning is not None:
        steps.append(Threshold(color=WARNING, value=warning))
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([*steps, Threshold(color=BAD, value=bad)])


def linked(panel: timeseries.Panel, title: str, url: str) -> timeseries.Panel:
    """Let a click on a curve lead somewhere."""
    return panel.data_links([DashboardLink(title).url(url)])


def query(
    expression: str, legend: str = "", ref: str = "A", *, instant: bool = False, exemplars: bool = False
) -> prometheus.Dataquery:
    """One PromQL query."""
    asked = prometheus.Dataquery().ref_id(ref).datasource(METRICS).expr(expression).legend_format(legend)
    if instant:
        return asked.instant().format(PromQueryFormat.TABLE)
    return asked.range().exemplar(exemplars).format(PromQueryFormat.TIME_SERIES)


def figure(title: str, described: str, expression: str, unit: str, *, decimals: int | None = None) -> stat.Panel:
    """One number over the whole range."""
    nothing = SpecialValueMap(
        DashboardSpecialValueMapOptions(match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text="none"))
    )
    panel = (
        stat.Panel()
        .title(title)
        .description(described)
        .datasource(METRICS)
        .unit(unit)
        .with_target(query(expression, instant=True).format(PromQueryFormat.TIME_SERIES))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .mappings([nothing])
        .no_value("none")
        .height(4)
        .span(4)
    )
    return panel if decimals is None else panel.decimals(decimals)


def curves(title: str, described: str, queries: Iterable[prometheus.Dataquery], unit: str) -> timeseries.Panel:
    """Figures over time, the largest first in the legend."""
    legend = (
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .calcs(["mean", "max"])
        .sort_by("Max")
        .sort_desc(sort_desc=True)
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(described)
        .datasource(METRICS)
        .unit(unit)
        .min(0)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.AUTO)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .height(9)
        .span(8)
    )
    for asked in queries:
        panel.with_target(asked)
    return panel


def events(title: str, described: str, asked: prometheus.Dataquery) -> timeseries.Panel:
    """What should be rare, counted from each point to the next: stacked bars, and "none" where nothing happened."""
    return stacked(
        curves(title, described, [asked], "short")
        .decimals(0)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(70)
        .legend(
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .calcs(["sum"])
        )
        .no_value("none")
    )


def with_levels(panel: timeseries.Panel, levels: ThresholdsConfig) -> timeseries.Panel:
    """Draw the levels as dashed lines."""
    style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(levels).thresholds_style(style)


def table_of_queries(title: str, described: str, columns: Sequence[prometheus.Dataquery]) -> table.Panel:
    """One row for each label, one column a query."""
    panel = table.Panel().title(title).description(described).datasource(METRICS).height(10).span(24)
    for column in columns:
        panel.with_target(column)
    return panel


def found(title: str, described: str, traceql: str, limit: int, *, spans_each: int = 3) -> table.Panel:
    """Spans that a search finds, one a row. ``limit`` counts traces."""
    asked = (
        tempo.Dataquery()
        .ref_id("A")
        .datasource(TRACES)
        .query_type(TempoQueryType.TRACEQL)
        .query(traceql)
        .table_type(SearchTableType.SPANS)
        .limit(limit)
        .spss(spans_each)
        .filters([])
    )
    return table.Panel().title(title).description(described).datasource(TRACES).with_target(asked).height(9).span(24)


def coloured(panel: stat.Panel, levels: ThresholdsConfig) -> stat.Panel:
    """Let the figure's background say how good it is."""
    return panel.thresholds(levels).color_mode(BigValueColorMode.BACKGROUND)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts of a whole, one upon the other."""
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def alarming(panel: timeseries.Panel) -> timeseries.Panel:
    """What should never happen, in the colour of what is bad."""
    return panel.color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color(BAD))
