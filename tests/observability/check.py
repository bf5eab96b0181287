"""``check.py BINARIES [SECONDS]``: prove the Collector's configuration and the dashboards with real parts.

A fleet trades through the chart's Collector into Jaeger and Prometheus; then every query of the dashboards is asked.
BINARIES is a folder with ``collector`` (OpenTelemetry, with span_metrics), ``jaeger`` (2.x) and, unless it is on the
path, ``prometheus``. Prints one line a check; the exit code is 1 if one of them failed.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from backends import Backends, attributes_of
from dashboard_queries import dashboard_queries, dashboards, filled
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from processes import Processes
from trading import Trading, local_ports

from derivfleet.common.spans import SPANS, SpanName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GRID_COLUMNS = 24
SHORT_S = 25.0
NO_TRADE = "0" * 32
PATH_OF_A_TRADE = {
    SpanName.TRADE,
    SpanName.DECIDE,
    SpanName.BUY,
    SpanName.FOLLOW,
    SpanName.GATEWAY_BUY,
    SpanName.QUOTA_WAIT,
    SpanName.DERIV_CALL,
    SpanName.SETTLE,
}
SETTLED = 'sum(traces_span_metrics_calls_total{span_name="order.settle",derivfleet_state="settled"})'
DURATIONS = "traces_span_metrics_duration_milliseconds_bucket"


class Checks:
    """Runs checks and keeps count."""

    def __init__(self) -> None:
        self.failed = 0

    def run(self, name: str, check: Callable[[], str]) -> None:
        """One line: what was checked and what was seen, or what was wrong."""
        try:
            line = f"ok    {name}: {check()}"
        except (AssertionError, ValueError, KeyError, OSError, RuntimeError, TimeoutError) as error:
            self.failed += 1
            line = f"FAIL  {name}: {error or type(error).__name__}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def models_decode_the_dashboards() -> str:
    """Reading and writing again loses nothing, and panels neither share an id nor overlap."""
    panels = 0
    for name, raw in dashboards().items():
        lost = list(differences(raw, json.loads(JSONEncoder().encode(Dashboard.from_json(raw))), name))
        assert not lost, f"unknown to the models: {', '.join(lost)}"
        taken: set[tuple[int, int]] = set()
        for panel in raw["panels"]:
            place = panel["gridPos"]
            right, bottom = place["x"] + place["w"], place["y"] + place["h"]
            cells = {(x, y) for x in range(place["x"], right) for y in range(place["y"], bottom)}
            assert not cells & taken, f"{name} / {panel['title']} lies upon another panel"
            assert right <= GRID_COLUMNS, f"{name} / {panel['title']} is too wide"
            taken |= cells
        numbers = [panel["id"] for panel in raw["panels"]]
        assert len(set(numbers)) == len(numbers), f"{name}: ids repeat"
        panels += len(numbers)
    return f"{panels} panels"


def differences(before: Any, after: Any, path: str) -> Iterator[str]:
    """Where something of ``before`` is not in ``after``. What a model adds by itself is none of ours."""
    match before, after:
        case dict(), dict():
            mine, theirs = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
            for key, value in mine.items():
                yield from differences(value, theirs.get(key), f"{path}.{key}")
        case list(), list() if len(cast("list[Any]", before)) == len(cast("list[Any]", after)):
            pairs = zip(cast("list[Any]", before), cast("list[Any]", after), strict=True)
            for index, (value, other) in enumerate(pairs):
                yield from differences(value, other, f"{path}[{index}]")
        case _:
            if before != after:
                yield path


def traceql_parses(folder: Path, values: dict[str, str]) -> str:
    """Grafana's own grammar accepts every search."""
    searches = [query for query in dashboard_queries() if query.language == "traceql" and query.text != "${trace}"]
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise FileNotFoundError("node and npm are needed for the grammar of TraceQL")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - found on the path above
    texts = [filled(query.text, values) for query in searches]
    for wrong, broken in ((False, []), (True, ["{ name = }"])):
        parsed = subprocess.run(  # noqa: S603 - found on the path above
            [node, HERE / "traceql.mjs", folder],
            input=json.dumps(texts + broken),
            text=True,
            capture_output=True,
            check=False,
        )
        assert (parsed.returncode != 0) is wrong, parsed.stderr.strip() or "the grammar accepts everything"
    return f"{len(searches)} searches"


def settled_orders(backends: Backends, processes: Processes, runs: list[Trading]) -> str:
    """Prometheus counts what the gateways' journals hold."""
    expected = sum(order["state"] == "settled" for trading in runs for order in trading.orders())
    assert expected > 0, "nothing was traded"
    processes.until(f"{expected} settled orders", lambda: backends.value(SETTLED) >= expected, 15)
    counted = backends.value(SETTLED)
    assert counted == expected, f"Prometheus counts {counted:.0f}, the journals hold {expected}"
    return f"{expected} orders, the same in Prometheus and in the journal"


def finite_points(series: list[dict[str, Any]]) -> int:
    pairs = [pair for one in series for pair in one.get("values", [one.get("value", (0, "NaN"))])]
    return sum(math.isfinite(float(value)) for _, value in pairs)


def promql_answers(backends: Backends, values: dict[str, str], seconds: float) -> str:
    """Every query of every panel gives numbers, as it is asked there: for one moment or as a curve."""
    asked = [query for query in dashboard_queries() if query.language == "promql"]
    empty: list[str] = []
    points = 0
    for query in asked:
        text = filled(query.text, values)
        found = backends.ask(text) if query.instant else backends.ask_range(text, seconds)
        points += finite_points(found)
        if not finite_points(found):
            empty.append(f"{query}: {text}")
    assert not empty, "no data: " + "; ".join(empty)
    return f"{len(asked)} queries, {points} points"


def bots_can_be_chosen(backends: Backends, names: list[str], values: dict[str, str]) -> str:
    """The variable's query, as Grafana resolves label_values."""
    for query in dashboard_queries():
        if query.language == "variable":
            series, _, label = filled(query.text, values).removeprefix("label_values(").rstrip(")").rpartition(", ")
            found = {one["metric"][label] for one in backends.ask(series)}
            assert found == set(names), f"{query}: {sorted(found)}"
    return f"{len(names)} bots"


def figure(backends: Backends, title: str, values: dict[str, str]) -> float:
    (query,) = [query for query in dashboard_queries() if query.panel == title and query.instant]
    return backends.value(filled(query.text, values))


def refusals(backends: Backends, values: dict[str, str], least: float) -> str:
    """The figure that must be 0 is 0, or at least ``least`` where refusals were provoked."""
    seen = figure(backends, "Refused for rate", values)
    assert (seen >= least) if least else (seen == 0), f"the figure says {seen:g}"
    return f"the figure says {seen:g}"


def one_trade_is_one_trace(backends: Backends, processes: Processes, order: dict[str, Any]) -> str:
    """Found by its order id; spans of bot and gateway; each span hangs where docs/telemetry.md says."""
    order_id = order["order_id"]
    tags = {"derivfleet.order_id": order_id}
    trace_ids = processes.until(f"a trace of {order_id}", lambda: backends.search("derivfleet-bot", **tags))
    assert trace_ids == [order["traceparent"].split("-")[1]], f"{order_id} is in {trace_ids}"
    spans = backends.trace(trace_ids[0])
    names = {span["spanId"]: span["name"] for span in spans}
    missing = PATH_OF_A_TRADE - set(names.values())
    assert not missing, f"{order_id} lacks {', '.join(sorted(missing))}"
    for span in spans:
        name = SpanName(span["name"])
        assert names.get(span.get("parentSpanId", "")) == SPANS[name].parent, f"{name} hangs under the wrong span"
        assert span["service"] == f"derivfleet-{SPANS[name].service}", f"{name} is of {span['service']}"
        unknown = set(attributes_of(span)) - {str(attribute) for attribute in SPANS[name].attributes}
        assert not unknown, f"{name} has {sorted(unknown)}"
    return f"{order_id}: {len(spans)} spans of {len({span['service'] for span in spans})} services"


def exemplars_lead_to_traces(backends: Backends, seconds: float) -> str:
    """A diamond in a panel of durations is a trade that Jaeger has."""
    found = backends.exemplars(f'{DURATIONS}{{span_name="trade.buy"}}', seconds)
    assert found, "Prometheus has no exemplars"
    spans = backends.trace(found[-1]["labels"]["trace_id"])
    assert any(span["name"] == SpanName.BUY for span in spans), "an exemplar's trace is not in Jaeger"
    return f"{len(found)} exemplars; one of them is a trace of {len(spans)} spans"


def series_a_bot(backends: Backends, bots: int) -> str:
    """How much a bot costs Prometheus. No label may grow with the trades."""
    every = '{__name__=~"traces_span_metrics_.+"}'
    labels = {name for one in backends.ask(every) for name in one["metric"]}
    grown = {label for label in labels if label.endswith(("order_id", "contract_id", "trace_id", "instance_id"))}
    assert not grown, f"labels without bound: {sorted(grown)}"
    count = backends.value(f"count({every})")
    return f"{count:.0f} series of {bots} bots, {count / bots:.0f} a bot; labels {', '.join(sorted(labels))}"


def run(checks: Checks, binaries: Path, seconds: float) -> None:
    """Everything, in order. Raises what keeps a program from starting."""
    bots: list[dict[str, Any]] = yaml.safe_load((ROOT / "fleet.yaml").read_text())["bots"]
    values = {"bot": ".*", "order": "", "trace": NO_TRADE, "slower": "500ms"}
    values |= {"__rate_interval": "15s", "__interval": "5s", "__range": "1h"}
    with tempfile.TemporaryDirectory(prefix="derivfleet-observability-") as name, Processes(Path(name)) as processes:
        folder = Path(name)
        checks.run("typed models decode the dashboards", models_decode_the_dashboards)
        checks.run("TraceQL parses", lambda: traceql_parses(folder, values))
        ports = local_ports()
        began = time.monotonic()
        backends = Backends(processes, binaries, folder, reports=ports.metrics)
        fleet = Trading(processes, folder / "fleet", ports, backends.otlp, bots, {})
        fleet.run(seconds)
        orders = [order for order in fleet.orders() if order["state"] == "settled"]
        checks.run("settled orders", lambda: settled_orders(backends, processes, [fleet]))
        checks.run("no refusal for rate", lambda: refusals(backends, values, 0))
        checks.run("one trade is one trace", lambda: one_trade_is_one_trace(backends, processes, orders[0]))
        checks.run("exemplars", lambda: exemplars_lead_to_traces(backends, time.monotonic() - began))
        checks.run("reports get the same spans", lambda: f"{fleet.reported_spans() or _nothing()} spans")
        # The same bots where Deriv admits fewer calls than the gateway believes: refusals, errors, calls not admitted.
        limits = {"limits": {"options": {"trade": {60: 8}}}}
        narrow = Trading(processes, folder / "narrow", ports, backends.otlp, bots[:3], limits)
        narrow.run(SHORT_S)
        checks.run("refusals for rate are seen", lambda: refusals(backends, values, 1))
        checks.run("every PromQL has data", lambda: promql_answers(backends, values, time.monotonic() - began))
        checks.run("bots can be chosen", lambda: bots_can_be_chosen(backends, fleet.names, values))
        checks.run("size", lambda: series_a_bot(backends, len(bots)))


def _nothing() -> str:
    raise AssertionError("the metrics service has none")


def main(binaries: Path, seconds: float) -> int:
    """The exit code."""
    checks = Checks()
    try:
        run(checks, binaries, seconds)
    except (OSError, RuntimeError, TimeoutError) as error:
        sys.stdout.write(f"FAIL  start: {error}\n")
        return 1
    return 1 if checks.failed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 60.0))
