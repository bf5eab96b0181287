"""The Collector as the chart configures it, before Jaeger and Prometheus."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import answers, fetch, free_ports

if TYPE_CHECKING:
    from processes import Processes

__all__ = ["COLLECTOR", "Backends"]

HERE = Path(__file__).resolve().parent
COLLECTOR = HERE.parents[1] / "helm/derivfleet/files/collector.yaml"


class Backends:
    """Where spans go. ``binaries`` holds collector and jaeger, and prometheus if it is not on the path."""

    def __init__(self, processes: Processes, binaries: Path, folder: Path, reports: str) -> None:
        at = free_ports(
            "otlp", "health", "scrape", "traces", "jaeger_health", "jaeger_grpc", "jaeger_http", "prometheus"
        )
        self.otlp = at["otlp"]
        self.jaeger = f"http://{at['jaeger_http']}"
        self.prometheus = f"http://{at['prometheus']}"
        self.scraped = f"http://{at['scrape']}/metrics"
        shutil.copy(HERE / "config/prometheus.yaml", folder)
        (folder / "targets.json").write_text(json.dumps([{"targets": [at["scrape"]]}]))
        environment = {
            "COLLECTOR_HEALTH": at["health"],
            "COLLECTOR_OTLP_GRPC": at["otlp"],
            "COLLECTOR_TRACES": at["traces"],
            "COLLECTOR_REPORTS": reports,
            "COLLECTOR_PROMETHEUS": at["scrape"],
            "COLLECTOR_FLUSH": "1s",
            "JAEGER_HEALTH": at["jaeger_health"],
            "JAEGER_GRPC": at["jaeger_grpc"],
            "JAEGER_HTTP": at["jaeger_http"],
        }
        processes.start("jaeger", [binaries / "jaeger", "--config", HERE / "config/jaeger.yaml"], environment)
        prometheus = shutil.which("prometheus", path=f"{binaries}") or shutil.which("prometheus")
        if prometheus is None:
            raise FileNotFoundError(f"prometheus is neither in {binaries} nor on the path")
        arguments = (
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={at['prometheus']}",
            "--enable-feature=exemplar-storage",
        )
        processes.start("prometheus", [prometheus, *arguments], {})
        processes.start("collector", [binaries / "collector", "--config", COLLECTOR], environment)
        for name, url in {
            "Jaeger": f"http://{at['jaeger_health']}/status",
            "Prometheus": f"{self.prometheus}/-/ready",
            "the Collector": f"http://{at['health']}",
        }.items():
            processes.until(f"{name} is ready", lambda url=url: answers(url))

    def ask(self, promql: str) -> list[dict[str, Any]]:
        """The answer now. Raises ValueError with Prometheus's words if it is no PromQL."""
        return self._result("query", query=promql)

    def ask_range(self, promql: str, seconds: float) -> list[dict[str, Any]]:
        """The curve over the last seconds."""
        now = time.time()
        return self._result("query_range", query=promql, start=now - seconds, end=now, step=5)

    def value(self, promql: str) -> float:
        """A single number; 0 if there is none."""
        found = self.ask(promql)
        return float(found[0]["value"][1]) if found else 0.0

    def exemplars(self, promql: str, seconds: float) -> list[dict[str, Any]]:
        """The exemplars of a query: labels, value, timestamp."""
        now = time.time()
        series = fetch(f"{self.prometheus}/api/v1/query_exemplars", query=promql, start=now - seconds, end=now)["data"]
        return [exemplar for one in series for exemplar in one["exemplars"]]

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace as OTLP's JSON, each with its ``service``."""
        try:
            found = fetch(f"{self.jaeger}/api/v3/traces/{trace_id}")["result"]["resourceSpans"]
        except urllib.error.HTTPError:
            return []
        return [
            {**span, "service": attributes_of(resource["resource"])["service.name"]}
            for resource in found
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def search(self, service: str, **tags: str) -> list[str]:
        """Ids of traces with a span of these attributes."""
        now_us = int(time.time() * 1e6)
        hour_us = 3_600_000_000
        period = {"start": now_us - hour_us, "end": now_us + hour_us}
        tagged = json.dumps(tags)
        answer = fetch(f"{self.jaeger}/api/traces", service=service, tags=tagged, limit=20, **period)
        found: list[dict[str, Any]] = answer["data"] or []
        return [trace["traceID"] for trace in found]

    def _result(self, kind: str, **parameters: str | float) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = fetch(f"{self.prometheus}/api/v1/{kind}", **parameters)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from None
        return found


def attributes_of(owner: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span or resource by name."""
    return {entry["key"]: next(iter(entry["value"].values())) for entry in owner.get("attributes", [])}
