"""Alerts and replication as operators see them: the gRPC service, and what the page and Prometheus ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from derivfleet.metrics.alerts.core.notices import is_silenced
from derivfleet.metrics.alerts.wording import UNITS
from derivfleet.metrics.periods import FieldError
from derivfleet.metrics.problems import explained
from derivfleet.v1 import watching_pb2, watching_pb2_grpc

if TYPE_CHECKING:
    import grpc

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.alerts.alarm import Alarm
    from derivfleet.metrics.alerts.records import KeptSilence
    from derivfleet.metrics.feed import OrderFeed
    from derivfleet.metrics.ingest import IngestCounts
    from derivfleet.metrics.replicate.replicator import Replicator

    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["WatchingServicer", "gauges"]

_MOST_ALERTS = 1000
_DEFAULT_ALERTS = 100
_MOST_SILENCE_S = 30 * 86_400
_MOST_REASON = 200


def _silence(kept: KeptSilence) -> watching_pb2.Silence:
    asked = kept.silence
    return watching_pb2.Silence(
        id=kept.number, rule=asked.rule, bot=asked.bot, until_time_ns=asked.until_ns, reason=kept.reason
    )


class WatchingServicer(watching_pb2_grpc.WatchingServiceServicer):
    """``derivfleet.v1.WatchingService``."""

    def __init__(self, alarm: Alarm, replicator: Replicator | None, clock: Clock, fleet: Fleet) -> None:
        self._alarm = alarm
        self._replicator = replicator
        self._clock = clock
        self._rules = frozenset(rule.name for rule in fleet.alerts.rules)
        self._bots = frozenset(bot.name for bot in fleet.bots)

    async def ListAlerts(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.ListAlertsRequest, context: Context
    ) -> watching_pb2.ListAlertsResponse:
        """What people are told, or would be; INVALID_ARGUMENT names the field."""
        async with explained(context):
            if not 0 <= request.limit <= _MOST_ALERTS:
                raise FieldError("limit", f"must be 0 to {_MOST_ALERTS}")
            board = await self._alarm.board(request.limit or _DEFAULT_ALERTS)
            now_ns = self._clock.now_ns()
            silences = [one.silence for one in board.silences]
            return watching_pb2.ListAlertsResponse(
                alerts=[
                    watching_pb2.Alert(
                        rule=one.rule,
                        bot=one.bot,
                        condition=one.condition,
                        threshold=f"{one.threshold:f}",
                        value=f"{one.value:f}",
                        unit=UNITS[one.condition],
                        fired_time_ns=one.fired_ns,
                        cleared_time_ns=one.cleared_ns,
                        silenced=is_silenced(silences, one.rule, one.bot, now_ns),
                    )
                    for one in board.alerts
                ],
                silences=[_silence(one) for one in board.silences],
                rules=sorted(self._rules),
                channels=self._alarm.channels,
                time_ns=now_ns,
                untold=board.untold,
            )
        raise AssertionError("abort returned")

    async def SilenceAlerts(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.SilenceAlertsRequest, context: Context
    ) -> watching_pb2.SilenceAlertsResponse:
        """Begin a silence; INVALID_ARGUMENT names the field."""
        async with explained(context):
            self._check_names(request.rule, request.bot)
            if not 1 <= request.duration_s <= _MOST_SILENCE_S:
                raise FieldError("duration_s", f"must be 1 to {_MOST_SILENCE_S} seconds")
            kept = await self._alarm.silence(
                request.rule, request.bot, request.duration_s, request.reason[:_MOST_REASON]
            )
            return watching_pb2.SilenceAlertsResponse(silence=_silence(kept))
        raise AssertionError("abort returned")

    async def EndSilences(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.EndSilencesRequest, context: Context
    ) -> watching_pb2.EndSilencesResponse:
        """End what was silenced by these names."""
        async with explained(context):
            return watching_pb2.EndSilencesResponse(ended=await self._alarm.end_silences(request.rule, request.bot))
        raise AssertionError("abort returned")

    async def GetReplication(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.GetReplicationRequest, context: Context
    ) -> watching_pb2.GetReplicationResponse:
        """How far the copy is behind."""
        del request
        async with explained(context):
            if self._replicator is None:
                return watching_pb2.GetReplicationResponse()
            replicas = [
                watching_pb2.ReplicaStatus(
                    table=one.table,
                    rows=one.rows,
                    behind_rows=one.behind_rows,
                    behind_s=one.behind_s,
                    refused_rows=one.refused,
                )
                for one in await self._replicator.progress()
            ]
            return watching_pb2.GetReplicationResponse(
                enabled=True, replicas=replicas, problem=self._replicator.problem
            )
        raise AssertionError("abort returned")

    def _check_names(self, rule: str, bot: str) -> None:
        if rule and rule not in self._rules:
            raise FieldError("rule", f"there is no rule {rule!r}; known are {', '.join(sorted(self._rules)) or 'none'}")
        if bot and bot not in self._bots:
            raise FieldError("bot", f"there is no bot {bot!r} in the fleet")


async def gauges(alarm: Alarm, replicator: Replicator | None, feed: OrderFeed, counts: IngestCounts) -> bytes:
    """What Prometheus scrapes, in its text format: made anew for each scrape. Raises StoreError."""
    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"derivfleet_{name}", words, labels, registry=registry)

    board = await alarm.board()
    alert = gauge("alert", "1 while an alert fires, by rule and bot (empty: the account)", "rule", "bot")
    for rule in alarm.rules:
        # A rule that is quiet has a row too, or nobody could tell quiet from absent.
        alert.labels(rule.name, "").set(0)
    for one in board.firing:
        alert.labels(one.rule, one.bot).set(1)
    gauge("alert_notices_untold", "Notices that wait for a channel").set(board.untold)
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
