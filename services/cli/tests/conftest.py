"""The services' side of the commands' tests: real servers with tokens, which answer what the test puts in."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import grpc
import psutil
import pytest
from aiohttp import web
from typer.testing import CliRunner

from derivfleet.cli.commands import app
from derivfleet.cli.run.run_dir import PAGE_READER, RunDir, RunFile
from derivfleet.common.rpc.identity import Role, caller
from derivfleet.common.rpc.server import Server
from derivfleet.common.rpc.status import Problem, abort
from derivfleet.common.rpc.token_file import TokenFile, issue_tokens
from derivfleet.v1 import (
    control_pb2,
    control_pb2_grpc,
    orders_pb2,
    quota_pb2,
    reports_pb2,
    reports_pb2_grpc,
    watching_pb2,
    watching_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from typer.testing import Result

Context = grpc.aio.ServicerContext[object, object]
T0_NS = 1_795_161_600_000_000_000
NS_PER_S = 1_000_000_000


def a_status() -> control_pb2.GetStatusResponse:
    """A gateway at work."""
    account = control_pb2.AccountStatus(
        account="demo",
        dialect="options",
        login_id="DOT90000001",
        currency="USD",
        balance="10001.23",
        is_demo=True,
        connections=[
            control_pb2.ConnectionStatus(role="orders", state="ready", since_time_ns=T0_NS, ping_ms=2.0),
            control_pb2.ConnectionStatus(
                role="reads", state="waiting", since_time_ns=T0_NS, problem="no route to host"
            ),
        ],
        windows=[quota_pb2.QuotaWindow(bucket="trade", window_s=60, limit=342, used=90, deriv_limit=360, reserved=34)],
        shares=[
            quota_pb2.QuotaShare(bot="over-4", bucket="trade", window_s=60, share=60, used=79, borrowed=19, waiting=3),
            quota_pb2.QuotaShare(bot="trend-75", bucket="trade", window_s=60, share=240, used=11, lent=19),
        ],
        next_calls=[
            quota_pb2.NextCall(
                bot="over-4",
                call="buy",
                forecast=quota_pb2.Forecast(bucket="trade", wait_ms=1200, binding_window="trade/60s"),
            ),
            quota_pb2.NextCall(bot="trend-75", call="buy", forecast=quota_pb2.Forecast(bucket="trade", remaining=9)),
        ],
        calls_saved=[quota_pb2.CallsSaved(kind="ticks", calls=9), quota_pb2.CallsSaved(kind="history", calls=120)],
        breaker=control_pb2.CircuitBreakerStatus(state="closed", since_time_ns=T0_NS),
        bots=[
            control_pb2.BotStatus(bot="over-4", ops=12, buys=5, confirmed=5, settled=4, wins=2, profit="-0.26", open=1),
            control_pb2.BotStatus(bot="trend-75", ops=3, unknown=1, open=1, errors=2, last_seen_time_ns=T0_NS),
        ],
        rejected_by_deriv=1,
        calls_sent=40,
        foreign_trades=2,
    )
    return control_pb2.GetStatusResponse(accounts=[account], time_ns=T0_NS + 30 * NS_PER_S)


class Control(control_pb2_grpc.ControlServiceServicer):
    """The gateway's ControlService over a list of orders."""

    def __init__(self) -> None:
        self.status = a_status()
        self.orders: list[orders_pb2.Order] = []
        self.pages = 0
        self.looks = 0
        self.resolved: list[control_pb2.ResolveOrderRequest] = []

    async def GetStatus(  # noqa: N802 - the contract's name
        self,
        request: control_pb2.GetStatusRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> control_pb2.GetStatusResponse:
        self.looks += 1
        return self.status

    async def ListOrders(  # noqa: N802 - the contract's name
        self,
        request: control_pb2.ListOrdersRequest,
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> control_pb2.ListOrdersResponse:
        self.pages += 1
        wanted = [
            order
            for order in reversed(self.orders)
            if request.bot in ("", order.bot)
            and request.state in (0, order.state)
            and (not request.doubtful or order.doubt)
        ]
        start = int(request.page_token or 0)
        end = start + (request.limit or 100)
        more = str(end) if end < len(wanted) else ""
        return control_pb2.ListOrdersResponse(orders=wanted[start:end], next_page_token=more)

    async def ResolveOrder(  # noqa: N802 - the contract's name
        self, request: control_pb2.ResolveOrderRequest, context: Context
    ) -> control_pb2.ResolveOrderResponse:
        for order in self.orders:
            if order.order_id == request.order_id:
                self.resolved.append(request)
                order.state = (
                    orders_pb2.ORDER_STATE_CONFIRMED if request.contract_id else orders_pb2.ORDER_STATE_NOT_FOUND
                )
                order.resolved_by = caller().name
                return control_pb2.ResolveOrderResponse(order=order)
        problem = Problem(grpc.StatusCode.NOT_FOUND, "ORDER_UNKNOWN", f"account demo has no order {request.order_id}")
        await abort(context, problem)
        raise AssertionError("aborted")

    async def StreamOrderFeed(  # noqa: N802 - the contract's name
        self,
        request: control_pb2.StreamOrderFeedRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> AsyncGenerator[control_pb2.StreamOrderFeedResponse, None]:
        raise AssertionError("no command follows the feed")
        yield


class Reports(reports_pb2_grpc.ReportsServiceServicer):
    """The metrics service's ReportsService with one report."""

    def __init__(self) -> None:
        self.asked: list[reports_pb2.GetReportRequest] = []
        bot = reports_pb2.BotReport(
            bot="over-4",
            ops=12,
            buys=5,
            settled=4,
            wins=2,
            win_rate=0.5,
            profit="-0.26",
            staked="1.40",
            phases=[reports_pb2.PhaseLatency(phase="buy", count=5, p50_ms=21.4, p95_ms=80.0, p99_ms=95.6)],
            errors=[reports_pb2.ErrorCount(code="LIMIT_REACHED", count=3)],
        )
        self.report = reports_pb2.Report(
            account="demo",
            start_epoch_s=1_795_161_600,
            end_epoch_s=1_795_161_900,
            filled_to_epoch_s=1_795_161_700,
            bots=[bot],
            fleet=bot,
            quota=[reports_pb2.QuotaUse(bucket="trade", calls=90, share_of_limit=0.05)],
            completeness=reports_pb2.Completeness(orders_in_feed=4, orders_traced=4, feed_connected=True),
        )
        self.trace = reports_pb2.Trace(account="demo", order_id="over-4:R_100:1:0", complete=True)

    async def GetReport(  # noqa: N802 - the contract's name
        self,
        request: reports_pb2.GetReportRequest,
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> reports_pb2.GetReportResponse:
        self.asked.append(request)
        return reports_pb2.GetReportResponse(report=self.report)

    async def GetTrace(  # noqa: N802 - the contract's name
        self, request: reports_pb2.GetTraceRequest, context: Context
    ) -> reports_pb2.GetTraceResponse:
        if request.order_id not in ("", self.trace.order_id):
            problem = Problem(grpc.StatusCode.NOT_FOUND, "TRACE_UNKNOWN", f"no span of {request.order_id} has arrived")
            await abort(context, problem)
        return reports_pb2.GetTraceResponse(trace=self.trace)


class Watching(watching_pb2_grpc.WatchingServiceServicer):
    """The metrics service's WatchingService with what the test puts in."""

    def __init__(self) -> None:
        self.alerts = watching_pb2.ListAlertsResponse()
        self.replication = watching_pb2.GetReplicationResponse()
        self.silenced: list[watching_pb2.SilenceAlertsRequest] = []

    async def ListAlerts(  # noqa: N802 - the contract's name
        self,
        request: watching_pb2.ListAlertsRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> watching_pb2.ListAlertsResponse:
        return self.alerts

    async def SilenceAlerts(  # noqa: N802 - the contract's name
        self,
        request: watching_pb2.SilenceAlertsRequest,
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> watching_pb2.SilenceAlertsResponse:
        self.silenced.append(request)
        until_ns = T0_NS + request.duration_s * NS_PER_S
        silence = watching_pb2.Silence(id=1, rule=request.rule, bot=request.bot, until_time_ns=until_ns)
        return watching_pb2.SilenceAlertsResponse(silence=silence)

    async def EndSilences(  # noqa: N802 - the contract's name
        self,
        request: watching_pb2.EndSilencesRequest,
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> watching_pb2.EndSilencesResponse:
        found = [one for one in self.silenced if (one.rule, one.bot) == (request.rule, request.bot)]
        return watching_pb2.EndSilencesResponse(ended=len(found))

    async def GetReplication(  # noqa: N802 - the contract's name
        self,
        request: watching_pb2.GetReplicationRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> watching_pb2.GetReplicationResponse:
        return self.replication


class Fleet:
    """A folder of a run whose services are the test's own."""

    def __init__(self, folder: RunDir, control: Control, reports: Reports) -> None:
        self.folder = folder
        self.control = control
        self.reports = reports
        self.watching = Watching()
        self.server: Server | None = None

    async def start(self) -> None:
        tokens = issue_tokens({"operator": Role.OPERATOR, PAGE_READER: Role.OBSERVER}, self.folder.tokens)
        self.server = Server("127.0.0.1:0", "LISTEN", TokenFile(tokens, "TOKENS"))
        control_pb2_grpc.add_ControlServiceServicer_to_server(self.control, self.server.grpc_server)
        reports_pb2_grpc.add_ReportsServiceServicer_to_server(self.reports, self.server.grpc_server)
        watching_pb2_grpc.add_WatchingServiceServicer_to_server(self.watching, self.server.grpc_server)
        address = f"127.0.0.1:{await self.server.start()}"
        await self.server.set_serving(serving=True)
        self.write(gateway=address, metrics=address)

    def write(self, **changes: Any) -> None:
        """Say where the services are, and the supervisor: this process, unless told another."""
        told: dict[str, Any] = {
            "gateway": "127.0.0.1:1",
            "metrics": "127.0.0.1:1",
            "pid": os.getpid(),
            "simulated": True,
        } | changes
        told["pid_started_s"] = psutil.Process(told["pid"]).create_time()
        self.folder.write_file(
            RunFile(
                fleet="demo",
                account="demo",
                dialect="options",
                speed=1.0,
                origin_ns=0,
                web="127.0.0.1:7680",
                **told,
            )
        )

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)

    async def run(self, *arguments: str, typed: str = "") -> Result:
        """Run a command against it, as a user would who types so."""
        words = [*arguments, "--run-dir", str(self.folder.path)]
        environment = {"COLUMNS": "220", "TERM": "dumb"}
        return await asyncio.to_thread(CliRunner().invoke, app, words, input=typed, env=environment)


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "input" / "fleet.yaml"
    path.parent.mkdir()
    path.write_text(
        "bots:\n"
        "  - {name: over-4, strategy: digit_frequency, symbols: [R_100], stake: 0.35}\n"
        "  - {name: trend-75, strategy: moving_average, symbols: [R_75, 1HZ75V], stake: 1}\n"
    )
    return path


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet, None]:
    one = Fleet(RunDir(tmp_path), Control(), Reports())
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def serve() -> AsyncGenerator[Callable[[web.Application], Awaitable[str]], None]:
    """Serves applications until the test ends; gives the host:port of each."""
    runners: list[web.AppRunner] = []

    async def start(application: web.Application) -> str:
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()
