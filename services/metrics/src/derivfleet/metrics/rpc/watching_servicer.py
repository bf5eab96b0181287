"""The gRPC service through which operators see and silence alerts, and see how far the copy is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derivfleet.metrics.alerts.core.notices import is_silenced
from derivfleet.metrics.alerts.notice_text import UNITS
from derivfleet.metrics.reports.periods import FieldError
from derivfleet.metrics.rpc.errors import abort_on_errors
from derivfleet.v1 import watching_pb2, watching_pb2_grpc

if TYPE_CHECKING:
    import grpc

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.alerts.alert_table import KeptSilence
    from derivfleet.metrics.alerts.evaluator import Evaluator
    from derivfleet.metrics.replicate.replicator import Replicator

    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["WatchingServicer"]

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

    def __init__(self, evaluator: Evaluator, replicator: Replicator | None, clock: Clock, fleet: Fleet) -> None:
        self._evaluator = evaluator
        self._replicator = replicator
        self._clock = clock
        self._rules = frozenset(rule.name for rule in fleet.alerts.rules)
        self._bots = frozenset(bot.name for bot in fleet.bots)

    async def ListAlerts(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.ListAlertsRequest, context: Context
    ) -> watching_pb2.ListAlertsResponse:
        """What people are told, or would be; INVALID_ARGUMENT names the field."""
        async with abort_on_errors(context):
            if not 0 <= request.limit <= _MOST_ALERTS:
                raise FieldError("limit", f"must be 0 to {_MOST_ALERTS}")
            overview = await self._evaluator.overview(request.limit or _DEFAULT_ALERTS)
            now_ns = self._clock.now_ns()
            silences = [one.silence for one in overview.silences]
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
                    for one in overview.alerts
                ],
                silences=[_silence(one) for one in overview.silences],
                rules=sorted(self._rules),
                channels=self._evaluator.channels,
                time_ns=now_ns,
                untold=overview.untold,
            )
        raise AssertionError("abort returned")

    async def SilenceAlerts(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.SilenceAlertsRequest, context: Context
    ) -> watching_pb2.SilenceAlertsResponse:
        """Begin a silence; INVALID_ARGUMENT names the field."""
        async with abort_on_errors(context):
            self._check_names(request.rule, request.bot)
            if not 1 <= request.duration_s <= _MOST_SILENCE_S:
                raise FieldError("duration_s", f"must be 1 to {_MOST_SILENCE_S} seconds")
            kept = await self._evaluator.silence(
                request.rule, request.bot, request.duration_s, request.reason[:_MOST_REASON]
            )
            return watching_pb2.SilenceAlertsResponse(silence=_silence(kept))
        raise AssertionError("abort returned")

    async def EndSilences(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.EndSilencesRequest, context: Context
    ) -> watching_pb2.EndSilencesResponse:
        """End what was silenced by these names."""
        async with abort_on_errors(context):
            return watching_pb2.EndSilencesResponse(ended=await self._evaluator.end_silences(request.rule, request.bot))
        raise AssertionError("abort returned")

    async def GetReplication(  # noqa: N802 - gRPC's name
        self, request: watching_pb2.GetReplicationRequest, context: Context
    ) -> watching_pb2.GetReplicationResponse:
        """How far the copy is behind."""
        del request
        async with abort_on_errors(context):
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
