"""The dashboards in the chart: what their source renders, asking only for what spans have and the Collector keeps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from observability.dashboard_queries import DASHBOARDS, DashboardQuery, dashboard_queries, dashboards

from derivfleet.common.spans import SPANS, Attribute, SpanName

ROOT = Path(__file__).parents[1]
COLLECTOR: dict[str, Any] = yaml.safe_load((ROOT / "helm/derivfleet/files/collector.yaml").read_text())
SPAN_METRICS = COLLECTOR["connectors"]["span_metrics"]
BY_ITSELF = {"service_name", "span_name", "span_kind", "status_code", "le"}
UNBOUNDED = {Attribute.ORDER_ID, Attribute.CONTRACT_ID, Attribute.STAKE, Attribute.PROFIT}

ATTRIBUTES = {attribute.replace(".", "_"): attribute for attribute in Attribute}
ASKED = list(dashboard_queries())


def names_of(field: str) -> set[str]:
    return {dimension["name"].replace(".", "_") for dimension in SPAN_METRICS[field]}


def selections(promql: str) -> list[tuple[str, dict[str, str]]]:
    """Every selected series with its matchers."""
    return [
        (series, dict(re.findall(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"', matchers)))
        for series, matchers in re.findall(r"(traces_\w+)\{([^}]*)\}", promql)
    ]


def grouped(promql: str) -> set[str]:
    return {label.strip() for labels in re.findall(r"by \(([^)]*)\)", promql) for label in labels.split(",")}


def asked_in(*languages: str) -> list[Any]:
    return [pytest.param(query, id=str(query)) for query in ASKED if query.language in languages]


def test_the_chart_has_what_the_source_renders(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "helm.dashboards", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own command
    rendered = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert rendered == {path.name: path.read_text() for path in DASHBOARDS.iterdir()}, "run make dashboards"
    assert set(rendered) == {"overview.json", "trade.json"}


@pytest.mark.parametrize("query", asked_in("promql", "variable"))
def test_promql_asks_only_for_spans_and_attributes_that_exist(query: DashboardQuery) -> None:
    found = selections(query.text)
    assert found
    for _, matchers in found:
        spans = [SpanName(name) for name in matchers["span_name"].split("|")]
        services = {f"derivfleet-{SPANS[name].service}" for name in spans}
        assert set(matchers["service_name"].split("|")) == services
        for label in (matchers.keys() | grouped(query.text)) - BY_ITSELF:
            for name in spans:
                assert ATTRIBUTES[label] in SPANS[name].attributes, f"{name} has no {label}"


@pytest.mark.parametrize("query", asked_in("traceql"))
def test_traceql_asks_only_for_spans_and_attributes_that_exist(query: DashboardQuery) -> None:
    attributes = {Attribute(found) for found in re.findall(r"\bspan\.([\w.]+)", query.text)}
    names = [SpanName(found) for found in re.findall(r'(?<!\.)\bname = "([^"]+)"', query.text)]
    for name in names:
        assert attributes <= set(SPANS[name].attributes)
        assert f'resource.service.name = "derivfleet-{SPANS[name].service}"' in query.text
    assert names or "${trace}" in query.text


@pytest.mark.parametrize("query", asked_in("promql", "variable"))
def test_the_collector_makes_every_series_and_label(query: DashboardQuery) -> None:
    prefix = SPAN_METRICS["namespace"].replace(".", "_")
    assert SPAN_METRICS["histogram"]["unit"] == "ms"
    kept = {
        f"{prefix}_calls_total": BY_ITSELF | names_of("dimensions") | names_of("calls_dimensions"),
        f"{prefix}_duration_milliseconds_bucket": BY_ITSELF | names_of("dimensions"),
    }
    for series, matchers in selections(query.text):
        assert matchers.keys() <= kept[series]
        assert grouped(query.text) <= kept[series]


def test_the_collector_keeps_no_attribute_that_grows_with_the_trades() -> None:
    kept = {ATTRIBUTES[name] for name in names_of("dimensions") | names_of("calls_dimensions")}
    assert not kept & UNBOUNDED


@pytest.mark.parametrize("name", ["overview", "trade"])
def test_data_sources_are_chosen_by_variable_and_every_variable_exists(name: str) -> None:
    dashboard = dashboards()[name]
    kinds = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    for owner in [*dashboard["panels"], *dashboard["templating"]["list"]]:
        for source in [owner, *owner.get("targets", [])]:
            if "datasource" in source:
                assert kinds[source["datasource"]["uid"].strip("${}")] == "datasource"
    for query in ASKED:
        if query.dashboard == name:
            used = set(re.findall(r"\$\{?(\w+)", query.text))
            assert used <= kinds.keys() | {"__rate_interval", "__interval", "__range"}


@pytest.mark.parametrize("name", ["overview", "trade"])
def test_every_panel_says_what_it_shows_and_links_lead_to_a_dashboard(name: str) -> None:
    dashboard = dashboards()[name]
    identities = {other["uid"] for other in dashboards().values()}
    links = 0
    targets = {variable["name"] for variable in dashboards()["trade"]["templating"]["list"]}
    for panel in dashboard["panels"]:
        if panel["type"] not in ("row", "text"):
            assert len(panel["description"]) > 20, panel["title"]
        for uid, query in re.findall(r'"/d/([\w-]+)\?([^"]*)"', json.dumps(panel)):
            links += 1
            assert uid in identities
            set_here = set(re.findall(r"var-(\w+)=", query))
            kept = set(re.findall(r"\{(\w+):queryparam\}", query))
            assert set_here | kept <= targets
            assert kept <= {variable["name"] for variable in dashboard["templating"]["list"]}
    assert links
