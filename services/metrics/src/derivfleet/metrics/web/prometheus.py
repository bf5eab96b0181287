"""What Prometheus scrapes of this service: alerts, the order feed, spans received, and how far the copy is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivfleet.metrics.alerts.evaluator import Evaluator
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.ingest.trace_receiver import IngestCounts
    from derivfleet.metrics.replicate.replicator import Replicator

__all__ = ["gauges"]


async def gauges(evaluator: Evaluator, replicator: Replicator | None, feed: OrderFeed, counts: IngestCounts) -> bytes:
    """What Prometheus scrapes, in its text format: made anew for each scrape. Raises StoreError."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - a megabyte, if scraped

    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"derivfleet_{name}", words, labels, registry=registry)

    overview = await evaluator.overview()
    alert = gauge("alert", "1 while an alert fires, by rule and bot (empty: the account)", "rule", "bot")
    for rule in evaluator.rules:
        # A rule that is quiet has a row too, or nobody could tell quiet from absent.
        alert.labels(rule.name, "").set(0)
    for one in overview.firing:
        alert.labels(one.rule, one.bot).set(1)
    gauge("alert_notices_untold", "Notices that wait for a channel").set(overview.untold)
    gauge("feed_connected", "1 while the gateway's order feed is connected").set(feed.connected)
    gauge("feed_lag_seconds", "How far behind the order feed is").set(feed.lag_s())
    spans = gauge("spans", "Spans received since the start, by what became of them", "outcome")
    for outcome in ("kept", "repeated", "refused", "sent_away"):
        spans.labels(outcome).set(getattr(counts, outcome))
    if replicator is not None:
        rows = gauge("replica_behind_rows", "Entries that wait to be copied to Supabase", "table")
        age = gauge("replica_behind_seconds", "Age of the oldest entry that waits", "table")
        for one in await replicator.progress():
            rows.labels(one.table).set(one.behind_rows)
            age.labels(one.table).set(one.behind_s)
        gauge("replica_ok", "1 while copying to Supabase goes on").set(not replicator.problem)
    return generate_latest(registry)
