"""The page's questions as JSON: a report, how money came in, orders, and one order with its trace."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web
from google.protobuf.message import Message

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.order_state import OrderState
from derivfleet.metrics.reports.order_trace import attributes_of, trace_of
from derivfleet.metrics.reports.periods import FieldError, Kind, period_at, within
from derivfleet.metrics.store import order_table
from derivfleet.metrics.web.profit_by_period import PERIODS, SLOTS_S, profit_by_period_json, slot_sums
from derivfleet.metrics.web.snapshot import order_json

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.metrics.reports.order_trace import OrderTrace
    from derivfleet.metrics.reports.reports import Reports
    from derivfleet.metrics.store.store import Store

__all__ = ["Api", "message_json"]

_STATES = tuple(state.value for state in OrderState)
_MOST_ORDERS = 1_000
_MOST_SPANS = 1_000
_NS_PER_MS = 1_000_000


def message_json(message: Message) -> dict[str, object]:
    """A message with all its fields under their own names; integers are numbers, money stays a string."""

    def plain(value: object) -> object:
        return message_json(value) if isinstance(value, Message) else value

    result: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        result[field.name] = [plain(one) for one in value] if field.is_repeated else plain(value)
    return result


class Api:
    """Api what the page asks besides the live events; it only reads."""

    def __init__(self, reports: Reports, store: Store, clock: Clock) -> None:
        self._reports = reports
        self._store = store
        self._clock = clock

    def serve(self, app: web.Application) -> None:
        """Add the questions to a server."""
        app.router.add_get("/api/report", self._report)
        app.router.add_get("/api/course", self._profit_by_period)
        app.router.add_get("/api/orders", self._orders)
        app.router.add_get("/api/order", self._order)

    async def _report(self, request: web.Request) -> web.Response:
        report = await self._reports.report(
            request.query.get("account", ""),
            _integer(request, "at"),
            _integer(request, "period"),
            request.query.get("kind", ""),
        )
        return web.json_response(message_json(report))

    async def _profit_by_period(self, request: web.Request) -> web.Response:
        account = self._reports.account_of(request.query.get("account", ""))
        at_s = within(_integer(request, "at"), self._clock.now_s())
        kind = request.query.get("kind", Kind.WINDOW)
        if kind not in {*Kind}:
            raise FieldError("kind", f"must be {', '.join(Kind)}, not {kind[:40]!r}")
        found = [period_at(Kind(kind), at_s, self._reports.zone, back) for back in reversed(range(PERIODS))]
        slot_s = SLOTS_S[kind]
        first_s, end_s = found[0].start_s, found[-1].end_s
        sums = await self._store.read(partial(slot_sums, account=account, start_s=first_s, end_s=end_s, slot_s=slot_s))
        return web.json_response(profit_by_period_json(sums, [(one.start_s, one.end_s) for one in found], slot_s))

    async def _orders(self, request: web.Request) -> web.Response:
        account = self._reports.account_of(request.query.get("account", ""))
        limit = _integer(request, "limit", 100)
        if not 1 <= limit <= _MOST_ORDERS:
            raise FieldError("limit", f"must be from 1 to {_MOST_ORDERS}, not {limit}")
        state = request.query.get("state", "")
        if state and state not in _STATES:
            raise FieldError("state", f"{state!r} is none of {', '.join(_STATES)}")
        search = order_table.OrderSearch(
            bot=request.query.get("bot", ""),
            state=state,
            symbol=request.query.get("symbol", ""),
            text=request.query.get("text", ""),
            before=_integer(request, "before"),
        )
        orders = await self._store.orders(account, search, limit)
        return web.json_response(
            {
                "orders": [order_json(order) for order in orders],
                "before": orders[-1].position if len(orders) == limit else None,
            }
        )

    async def _order(self, request: web.Request) -> web.Response:
        account = self._reports.account_of(request.query.get("account", ""))
        order_id = request.query.get("id", "")
        order = await self._store.read(partial(order_table.order, account=account, order_id=order_id))
        if order is None:
            raise web.HTTPNotFound(text=f"no order {order_id[:120]!r} is known here")
        trace = trace_of(account, order_id, await self._store.spans_of_order(account, order_id, _MOST_SPANS))
        return web.json_response({"order": order_json(order), "trace": _trace_json(trace)})


def _trace_json(trace: OrderTrace) -> dict[str, object]:
    # Milliseconds after the first span: nanoseconds since 1970 are more than JSON's numbers hold.
    first_ns = min((span.start_ns for span in trace.spans), default=0)
    known = {(span.trace_id, span.span_id): index for index, span in enumerate(trace.spans)}
    return {
        "complete": trace.is_complete,
        "begin_s": first_ns / NS_PER_S,
        "spans": [
            {
                "name": span.name,
                "service": span.service.removeprefix("derivfleet-"),
                "parent": known.get((span.trace_id, span.parent_id)),
                "from_ms": (span.start_ns - first_ns) / _NS_PER_MS,
                "took_ms": (span.end_ns - span.start_ns) / _NS_PER_MS,
                "error_code": span.error_code,
                "attributes": {
                    name.removeprefix("derivfleet."): value for name, value in sorted(attributes_of(span).items())
                },
            }
            for span in trace.spans
        ],
    }


def _integer(request: web.Request, name: str, default: int = 0) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise FieldError(name, f"must be a whole number, not {text[:40]!r}") from None
