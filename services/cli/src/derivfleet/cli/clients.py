"""The services as the command line sees them: thin calls, whose failures are sentences."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2

from derivfleet.cli.errors import CommandError, NoAnswerError
from derivfleet.common.redaction import hide
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.own_token import bearer, read_token
from derivfleet.common.rpc.status import problem_of
from derivfleet.v1 import control_pb2, orders_pb2, reports_pb2, watching_pb2
from derivfleet.v1.control_pb2_grpc import ControlServiceStub
from derivfleet.v1.reports_pb2_grpc import ReportsServiceStub
from derivfleet.v1.watching_pb2_grpc import WatchingServiceStub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from derivfleet.cli.run.run_dir import RunDir, RunFile

__all__ = ["OPERATOR", "ControlClient", "ReportsClient", "WatchingClient", "ask", "is_serving"]

OPERATOR = "operator"
"""Whose token the command line uses."""
CALL_WALL_S = 10.0
PAGE = 1000

A = TypeVar("A")
C = TypeVar("C", bound="_Client")


class _Client:
    """A channel with the operator's token on it; closed by leaving its block."""

    service = ""

    @classmethod
    def address_in(cls, run: RunFile) -> str:
        """Where the service of a run listens."""
        return run.metrics

    def __init__(self, address: str, token_file: Path) -> None:
        """Raises ConfigurationError if there is no token."""
        token = read_token(token_file, "--run-dir")
        hide(token)
        self._address = address
        self._token_file = token_file
        self._metadata = bearer(token)
        self._channel = open_channel(address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def _answer(self, call: Awaitable[A]) -> A:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            problem = problem_of(error)
            if problem.code is grpc.StatusCode.UNAVAILABLE:
                raise NoAnswerError(
                    f"the {self.service} does not answer at {self._address}: is the fleet running? "
                    "`derivfleet doctor` tells more"
                ) from None
            if problem.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NoAnswerError(
                    f"the {self.service} at {self._address} did not answer within {CALL_WALL_S:g} s"
                ) from None
            if problem.code is grpc.StatusCode.UNAUTHENTICATED:
                raise CommandError(
                    f"the {self.service} does not know the token in {self._token_file} ({problem.reason}): "
                    "it is another run's; start the fleet again, or name its folder with --run-dir"
                ) from None
            if problem.code is grpc.StatusCode.NOT_FOUND:
                raise CommandError(f"{problem.message}; `derivfleet orders` lists what there is") from None
            raise CommandError(f"the {self.service} says no: {problem.reason}: {problem.message}") from None


class ControlClient(_Client):
    """The gateway's ControlService. Every call raises CommandError if it fails."""

    service = "gateway"

    @classmethod
    def address_in(cls, run: RunFile) -> str:
        """Where the service of a run listens."""
        return run.gateway

    def __init__(self, address: str, token_file: Path) -> None:
        super().__init__(address, token_file)
        self._stub = ControlServiceStub(self._channel)

    async def status(self) -> control_pb2.GetStatusResponse:
        """Connections, quota, bots and counters of every account."""
        request = control_pb2.GetStatusRequest()
        return await self._answer(self._stub.GetStatus(request, timeout=CALL_WALL_S, metadata=self._metadata))

    async def orders(
        self,
        limit: int = 0,
        bot: str = "",
        state: orders_pb2.OrderState.ValueType = orders_pb2.ORDER_STATE_UNSPECIFIED,
        since_ns: int = 0,
    ) -> list[orders_pb2.Order]:
        """Orders, newest first: at most ``limit`` (0 for all), not intended before ``since_ns``."""
        found: list[orders_pb2.Order] = []
        token = ""
        while True:
            page = min(PAGE, limit - len(found)) if limit else PAGE
            request = control_pb2.ListOrdersRequest(bot=bot, state=state, limit=page, page_token=token)
            answer = await self._answer(self._stub.ListOrders(request, timeout=CALL_WALL_S, metadata=self._metadata))
            recent = [order for order in answer.orders if order.intended_time_ns >= since_ns]
            found += recent
            token = answer.next_page_token
            if not token or len(recent) < len(answer.orders) or (limit and len(found) >= limit):
                return found[:limit] if limit else found

    async def doubtful(self) -> list[orders_pb2.Order]:
        """The orders that are being looked for or that an operator must decide about, newest first."""
        unknown = await self.orders(state=orders_pb2.ORDER_STATE_UNKNOWN)
        request = control_pb2.ListOrdersRequest(doubtful=True)
        answer = await self._answer(self._stub.ListOrders(request, timeout=CALL_WALL_S, metadata=self._metadata))
        found = {(order.account, order.order_id): order for order in (*unknown, *answer.orders)}
        return sorted(found.values(), key=lambda order: -order.intended_time_ns)

    async def resolve(self, account: str, order_id: str, contract_id: int) -> orders_pb2.Order:
        """Say which contract an order is, 0 for none."""
        request = control_pb2.ResolveOrderRequest(account=account, order_id=order_id, contract_id=contract_id)
        answer = await self._answer(self._stub.ResolveOrder(request, timeout=CALL_WALL_S, metadata=self._metadata))
        return answer.order


_REPORT_WALL_S = 30.0
"""A day of a large fleet takes longer than a look at the present."""


class ReportsClient(_Client):
    """The metrics service's ReportsService. Every call raises CommandError if it fails."""

    service = "metrics service"

    def __init__(self, address: str, token_file: Path) -> None:
        super().__init__(address, token_file)
        self._stub = ReportsServiceStub(self._channel)

    async def report(self, at_epoch_s: int = 0, period_s: int = 0) -> reports_pb2.Report:
        """One report; 0 means now, and five minutes."""
        request = reports_pb2.GetReportRequest(at_epoch_s=at_epoch_s, period_s=period_s)
        answer = await self._answer(self._stub.GetReport(request, timeout=CALL_WALL_S, metadata=self._metadata))
        return answer.report

    async def compared(self, request: reports_pb2.GetReportRequest) -> reports_pb2.GetReportResponse:
        """Any report, and what it is compared with if that is asked for."""
        return await self._answer(self._stub.GetReport(request, timeout=_REPORT_WALL_S, metadata=self._metadata))

    async def trace(self, order_id: str = "") -> reports_pb2.Trace:
        """The spans of an order; of the newest settled one with a complete trace if none is named."""
        request = reports_pb2.GetTraceRequest(order_id=order_id)
        answer = await self._answer(self._stub.GetTrace(request, timeout=CALL_WALL_S, metadata=self._metadata))
        return answer.trace


class WatchingClient(_Client):
    """The metrics service's WatchingService. Every call raises CommandError if it fails."""

    service = "metrics service"

    def __init__(self, address: str, token_file: Path) -> None:
        super().__init__(address, token_file)
        self._stub = WatchingServiceStub(self._channel)

    async def alerts(self, limit: int) -> watching_pb2.ListAlertsResponse:
        """Alerts and silences."""
        request = watching_pb2.ListAlertsRequest(limit=limit)
        return await self._answer(self._stub.ListAlerts(request, timeout=CALL_WALL_S, metadata=self._metadata))

    async def silence(self, rule: str, bot: str, duration_s: int, reason: str) -> watching_pb2.Silence:
        """Tell nothing of a rule and a bot for a while."""
        request = watching_pb2.SilenceAlertsRequest(rule=rule, bot=bot, duration_s=duration_s, reason=reason)
        call = self._stub.SilenceAlerts(request, timeout=CALL_WALL_S, metadata=self._metadata)
        return (await self._answer(call)).silence

    async def unsilence(self, rule: str, bot: str) -> int:
        """End silences; how many there were."""
        request = watching_pb2.EndSilencesRequest(rule=rule, bot=bot)
        return (await self._answer(self._stub.EndSilences(request, timeout=CALL_WALL_S, metadata=self._metadata))).ended

    async def replication(self) -> watching_pb2.GetReplicationResponse:
        """How far the copy at Supabase is."""
        request = watching_pb2.GetReplicationRequest()
        return await self._answer(self._stub.GetReplication(request, timeout=CALL_WALL_S, metadata=self._metadata))


def ask(service: type[C], folder: RunDir, question: Callable[[C], Awaitable[A]]) -> A:
    """Ask a service of the fleet that runs in a folder. Raises CommandError, or ConfigurationError without a token."""
    run = folder.running()

    async def answered() -> A:
        async with service(service.address_in(run), folder.token(OPERATOR)) as client:
            return await question(client)

    return asyncio.run(answered())


async def is_serving(address: str, wall_s: float = 2.0) -> bool:
    """Whether a gRPC server is there and says that calls are welcome."""
    async with open_channel(address) as channel:
        # By its name, for the generated stub has no types.
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=wall_s)
        except grpc.aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING
