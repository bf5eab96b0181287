"""The HTTP server: the page and its files, the live events, the report and the orders as JSON, health."""

from __future__ import annotations

import ipaddress
import json
from contextlib import aclosing
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web
from google.protobuf.message import Message
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from derivfleet.common.errors import ConfigurationError
from derivfleet.metrics.orders import OrderState
from derivfleet.metrics.periods import FieldError
from derivfleet.metrics.settings import key_of, split_address
from derivfleet.metrics.store import StoreError
from derivfleet.metrics.web.live import Live, TooManyWatchersError
from derivfleet.metrics.web.snapshot import order_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler

    from derivfleet.common.clock import Clock
    from derivfleet.metrics.feed import OrderFeed
    from derivfleet.metrics.reports import Reports
    from derivfleet.metrics.store import Store

__all__ = ["Site", "message_json"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_STATES = tuple(state.value for state in OrderState)
_MOST_ORDERS = 1_000
_WRITE_WALL_S = 10.0
_SHUTDOWN_WALL_S = 2.0


def message_json(message: Message) -> dict[str, object]:
    """A message with all its fields under their own names; integers are numbers, money stays a string."""

    def plain(value: object) -> object:
        return message_json(value) if isinstance(value, Message) else value

    result: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        result[field.name] = [plain(one) for one in value] if field.is_repeated else plain(value)
    return result


class Site:
    """Serves one account's page. It asks for no token and only reads."""

    def __init__(
        self,
        address: str,
        reports: Reports,
        store: Store,
        feed: OrderFeed,
        live: Live,
        clock: Clock,
        gauges: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._address = address
        self._reports = reports
        self._store = store
        self._feed = feed
        self._live = live
        self._clock = clock
        self._gauges = gauges
        self._files = {
            entry.name: entry.read_bytes()
            for entry in files(__package__ or "").joinpath("page").iterdir()
            if f".{entry.name.rpartition('.')[2]}" in _TYPES
        }
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises ConfigurationError if it is in use."""
        host, port = split_address(self._address)
        app = web.Application(middlewares=[_errors, *([_only_local] if _is_loopback(host) else [])])
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
        app.router.add_get("/api/report", self._report)
        app.router.add_get("/api/orders", self._orders)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/{name}", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_WALL_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                key_of("web"), f"cannot listen on {self._address}: {error.strerror or 'is the port in use?'}"
            ) from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End the live events, then the server, in at most two wall seconds."""
        await self._live.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        content = self._files.get(name)
        if content is None:
            raise web.HTTPNotFound
        kind = _TYPES[f".{name.rpartition('.')[2]}"]
        return web.Response(body=content, content_type=kind, charset="utf-8")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        try:
            async with aclosing(self._live.watch()) as snapshots:
                async for text in snapshots:
                    if not response.prepared:
                        response.headers.update({**_HEADERS, "Cache-Control": "no-store"})
                        await response.prepare(request)
                    # A page that has gone to sleep with its socket open must not be waited for for ever.
                    async with self._clock.timeout(self._clock.fleet_s(_WRITE_WALL_S)):
                        await response.write(f"data: {text}\n\n".encode())
        except TooManyWatchersError:
            raise web.HTTPServiceUnavailable(text="too many pages are open") from None
        except (ConnectionError, TimeoutError):
            return response
        if not response.prepared:
            raise web.HTTPServiceUnavailable(text="the service is stopping")
        return response

    async def _report(self, request: web.Request) -> web.Response:
        report = await self._reports.report(
            request.query.get("account", ""), _integer(request, "at"), _integer(request, "period")
        )
        return web.json_response(message_json(report))

    async def _orders(self, request: web.Request) -> web.Response:
        account = self._reports.account_of(request.query.get("account", ""))
        limit = _integer(request, "limit", 100)
        if not 1 <= limit <= _MOST_ORDERS:
            raise FieldError("limit", f"must be from 1 to {_MOST_ORDERS}, not {limit}")
        state = request.query.get("state", "")
        if state and state not in _STATES:
            raise FieldError("state", f"{state!r} is none of {', '.join(_STATES)}")
        orders = await self._store.orders(account, request.query.get("bot", ""), state, limit)
        return web.json_response({"orders": [order_json(order) for order in orders]})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._gauges(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _health(self, _request: web.Request) -> web.Response:
        await self._store.mark()
        return web.json_response(
            {
                "status": "ok",
                "feed_connected": self._feed.connected,
                "feed_lag_s": self._feed.lag_s(),
                "watchers": self._live.watchers,
            }
        )


def _integer(request: web.Request, name: str, default: int = 0) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise FieldError(name, f"must be a whole number, not {text[:40]!r}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer carries the headers; what went wrong is said in JSON."""
    try:
        response = await handler(request)
    except FieldError as error:
        response = _problem(400, str(error), error.field)
    except StoreError as error:
        response = _problem(503, str(error))
    except web.HTTPException as error:
        response = _problem(error.status, error.text or error.reason)
    if not response.prepared:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
    return response


def _problem(status: int, message: str, field: str = "") -> web.Response:
    error = {"message": message, **({"field": field} if field else {})}
    return web.Response(status=status, text=json.dumps({"error": error}), content_type="application/json")


@web.middleware
async def _only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On loopback, answer only to loopback's names.

    Any web site can point a name of its own at 127.0.0.1 and have the browser ask us (DNS rebinding); what gives it
    away is the Host header.
    """
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    if not _is_loopback(host.removeprefix("[").removesuffix("]")):
        raise web.HTTPForbidden(text="this page answers to 127.0.0.1 and localhost only")
    return await handler(request)
