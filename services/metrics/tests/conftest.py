"""What the tests of this service share: a gateway to follow, a service to ask, and plain records."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from derivfleet.common.clock import NS_PER_S, FleetClock, ManualClock
from derivfleet.common.rpc.identity import Role, issue_tokens
from derivfleet.common.telemetry import Telemetry
from derivfleet.metrics.orders import OrderRecord, OrderState
from derivfleet.metrics.otlp import SpanRecord
from derivfleet.metrics.service import Ports, serve
from derivfleet.metrics.settings import MetricsSettings
from derivfleet.metrics.store import Store
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, quota_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

START_S = 1_795_161_600
"""A five-minute boundary; ManualClock starts there."""
PATIENCE_S = 10.0

FLEET = """
fleet: test
accounts: [{key: demo}]
bots:
  - {name: over-4, strategy: digit_frequency, symbols: [1HZ100V]}
  - {name: trend-75, strategy: moving_average, symbols: [R_75]}
"""


async def _eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - what is waited for sets no event: it happens behind a socket
            await asyncio.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Waits (in wall time, for sockets are involved) until something holds."""
    return _eventually


def _settled_event(
    position: int,
    order_id: str,
    profit: str = "0.33",
    *,
    bot: str = "over-4",
    time_s: float = START_S + 10,
    trace_id: str = "",
    **changes: Any,
) -> orders_pb2.OrderEvent:
    """One order that was bought and settled, as the gateway's feed tells it."""
    time_ns = round(time_s * NS_PER_S)
    order = orders_pb2.Order(
        account="demo",
        order_id=order_id,
        bot=bot,
        terms=orders_pb2.ContractTerms(
            contract_type="DIGITOVER", symbol="1HZ100V", stake="0.35", duration=1, duration_unit="t", barrier="4"
        ),
        state=orders_pb2.ORDER_STATE_SETTLED,
        contract_id=900_000_000_000 + position,
        buy_transaction_id=800_000_000_000 + position,
        buy_price="0.35",
        payout="0.68",
        sell_price=str(Decimal("0.35") + Decimal(profit)),
        profit=profit,
        purchase_epoch_s=int(time_s) - 2,
        sell_epoch_s=int(time_s),
        intended_time_ns=time_ns - 2 * NS_PER_S,
        sent_time_ns=time_ns - 2 * NS_PER_S,
        answered_time_ns=time_ns - 2 * NS_PER_S,
        settled_time_ns=time_ns,
        trace_id=trace_id,
    )
    order.MergeFrom(orders_pb2.Order(**changes))
    return orders_pb2.OrderEvent(position=position, time_ns=time_ns, order=order)


def _status_response(time_s: float = START_S, rejected: int = 0, **changes: Any) -> control_pb2.GetStatusResponse:
    """What a healthy gateway says of its one account."""
    account = control_pb2.AccountStatus(
        account="demo",
        dialect="options",
        login_id="DOT90000001",
        currency="USD",
        balance="10012.34",
        is_demo=True,
        rejected_by_deriv=rejected,
        calls_sent=420,
        windows=[
            quota_pb2.QuotaWindow(bucket="trade", window_s=60, limit=342, used=120, deriv_limit=360, reserved=34),
            quota_pb2.QuotaWindow(bucket="trade", window_s=3600, limit=13_680, used=3_000, deriv_limit=14_400),
        ],
        connections=[control_pb2.ConnectionStatus(role="orders", state="ready", ping_ms=41.5)],
        shares=[quota_pb2.QuotaShare(bot="over-4", bucket="trade", window_s=60, share=154, used=163, borrowed=9)],
    )
    account.MergeFrom(control_pb2.AccountStatus(**changes))
    return control_pb2.GetStatusResponse(
        accounts=[account], time_ns=round(time_s * NS_PER_S), started_time_ns=(START_S - 60) * NS_PER_S
    )


class GatewayPeer(control_pb2_grpc.ControlServiceServicer):
    """A gateway's control service over a real socket: plays a recorded feed, then streams what is added to it."""

    def __init__(self) -> None:
        self.events: list[orders_pb2.OrderEvent] = []
        self.status = _status_response()
        self.asked_after: list[int] = []
        self.journal_id = ""
        self.trimmed_to = 0
        self.bearers: list[str] = []
        self.polls = 0
        self.status_problem = False
        self.port = 0
        self._grown = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def add(self, *events: orders_pb2.OrderEvent) -> None:
        """More has happened."""
        async with self._grown:
            self.events.extend(events)
            self._grown.notify_all()

    async def GetStatus(  # noqa: N802 - gRPC's name
        self, request: control_pb2.GetStatusRequest, context: Any
    ) -> control_pb2.GetStatusResponse:
        del request
        self.polls += 1
        if self.status_problem:
            await context.abort(grpc.StatusCode.INTERNAL, "no status today")
        return self.status

    async def ListOrders(  # noqa: N802 - gRPC's name
        self, request: control_pb2.ListOrdersRequest, context: object
    ) -> control_pb2.ListOrdersResponse:
        del request, context
        return control_pb2.ListOrdersResponse(orders=[event.order for event in self.events])

    async def StreamOrderFeed(  # noqa: N802 - gRPC's name
        self, request: control_pb2.StreamOrderFeedRequest, context: Any
    ) -> AsyncIterator[control_pb2.StreamOrderFeedResponse]:
        self.asked_after.append(request.after_position)
        self.bearers.append(dict(context.invocation_metadata()).get("authorization", ""))
        position = request.after_position if request.journal_id in ("", self.journal_id) else 0
        first = control_pb2.StreamOrderFeedResponse(
            journal_id=self.journal_id, begins_after=position, trimmed_to=self.trimmed_to
        )
        while True:
            for event in [event for event in self.events if event.position > position]:
                position = event.position
                first.event.CopyFrom(event)
                yield first
                first = control_pb2.StreamOrderFeedResponse()
            yield first
            first = control_pb2.StreamOrderFeedResponse()
            async with self._grown:
                while self.events[-1:] == [] or self.events[-1].position <= position:
                    await self._grown.wait()


@dataclass
class Running:
    """A metrics service in this process."""

    ports: Ports
    folder: Path
    stop: asyncio.Event

    @property
    def otlp(self) -> str:
        return f"127.0.0.1:{self.ports.grpc}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.web}"

    def token(self, name: str) -> str:
        return (self.folder / f"{name}.token").read_text()


@pytest.fixture
def settings(tmp_path: Path) -> MetricsSettings:
    """Settings with free ports, fresh tokens and an empty folder for the store."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    bearers = {"metrics": Role.OBSERVER, "operator": Role.OPERATOR, "over-4": Role.BOT}
    return MetricsSettings(
        listen="127.0.0.1:0",
        web="127.0.0.1:0",
        gateway="127.0.0.1:1",
        token_file=tmp_path / "metrics.token",
        tokens=issue_tokens(bearers, tmp_path),
        store=tmp_path / "metrics.sqlite",
        fleet=tmp_path / "fleet.yaml",
    )


@pytest.fixture
async def gateway() -> AsyncGenerator[GatewayPeer, None]:
    peer = GatewayPeer()
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def run_metrics(settings: MetricsSettings, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Runs the whole service, with real sockets, as often as a test likes, on the same store."""

    @asynccontextmanager
    async def run(gateway: GatewayPeer | None = None, **changes: object) -> AsyncGenerator[Running, None]:
        stop = asyncio.Event()
        listening: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
        where = {"gateway": f"127.0.0.1:{gateway.port}"} if gateway else {}
        own = settings.model_copy(update={**where, **changes})
        clock = FleetClock()
        service = asyncio.create_task(serve(own, clock, Telemetry("metrics", clock), stop, listening))
        done, _ = await asyncio.wait({service, listening}, return_when=asyncio.FIRST_COMPLETED)
        if service in done:
            await service
        try:
            yield Running(listening.result(), tmp_path, stop)
        finally:
            stop.set()
            await asyncio.wait_for(service, PATIENCE_S)

    return run


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "unit.sqlite", "STORE")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S)


def _span(number: int, name: str, **changes: Any) -> SpanRecord:
    """A span that took 10 ms and ended ten seconds after START_S."""
    end_ns = (START_S + 10) * NS_PER_S
    values: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "parent_id": "",
        "name": name,
        "service": "derivfleet-gateway",
        "start_ns": end_ns - 10_000_000,
        "end_ns": end_ns,
        "account": "demo",
        "bot": "over-4",
        "order_id": "",
        "call": "",
        "bucket": "",
        "state": "",
        "error_code": "",
        "rate_refused": False,
        "attributes": "{}",
    }
    return SpanRecord(**{**values, **changes})


def _order(position: int, order_id: str, profit: str = "0.33", **changes: Any) -> OrderRecord:
    """An order that settled ten seconds after START_S."""
    time_ns = (START_S + 10) * NS_PER_S
    values: dict[str, Any] = {
        "account": "demo",
        "order_id": order_id,
        "bot": "over-4",
        "contract_type": "DIGITOVER",
        "symbol": "1HZ100V",
        "stake": Decimal("0.35"),
        "duration": 1,
        "duration_unit": "t",
        "barrier": "4",
        "state": OrderState.SETTLED,
        "contract_id": 900_000_000_000 + position,
        "buy_price": Decimal("0.35"),
        "payout": Decimal("0.68"),
        "sell_price": Decimal("0.35") + Decimal(profit),
        "profit": Decimal(profit),
        "error_code": "",
        "error_message": "",
        "reconciled": False,
        "intended_ns": time_ns - 2 * NS_PER_S,
        "bought_ns": time_ns - 2 * NS_PER_S,
        "settled_ns": time_ns,
        "trace_id": "",
        "position": position,
        "changed_ns": time_ns,
    }
    return OrderRecord(**{**values, **changes})


@pytest.fixture
def make_event() -> Callable[..., orders_pb2.OrderEvent]:
    """``(position, order_id, profit, bot=, time_s=, trace_id=, **fields of Order)``: a settlement on the feed."""
    return _settled_event


@pytest.fixture
def make_status() -> Callable[..., control_pb2.GetStatusResponse]:
    """``(time_s, rejected, **fields of AccountStatus)``: the gateway's answer to GetStatus."""
    return _status_response


@pytest.fixture
def make_span() -> Callable[..., SpanRecord]:
    """``(number, name, **fields)``: a span for the store; the number makes its ids."""
    return _span


@pytest.fixture
def make_order() -> Callable[..., OrderRecord]:
    """``(position, order_id, profit, **fields)``: a settled order for the store."""
    return _order
