"""The HTTP server: the page and its files, the live events, health; who may see them and what else can be asked."""

from __future__ import annotations

from contextlib import aclosing
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.prometheus import CONTENT_TYPE
from derivfleet.common.settings import split_address
from derivfleet.metrics.settings import key_of
from derivfleet.metrics.web.middlewares import HEADERS, errors, is_loopback, only_local
from derivfleet.metrics.web.snapshot_stream import SnapshotStream, TooManySubscribersError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.common.clock import Clock
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.store.store import Store
    from derivfleet.metrics.web.api import Api
    from derivfleet.metrics.web.auth import Auth

__all__ = ["WebServer"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_WRITE_WALL_S = 10.0
_SHUTDOWN_WALL_S = 2.0
_MOST_BODY = 16 * 1024
"""Of a request: the longest is a token."""


class WebServer:
    """Serves one account's page, to readers only; it only reads."""

    def __init__(
        self,
        address: str,
        auth: Auth,
        api: Api,
        store: Store,
        feed: OrderFeed,
        stream: SnapshotStream,
        clock: Clock,
        gauges: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._address = address
        self._auth = auth
        self._api = api
        self._store = store
        self._feed = feed
        self._stream = stream
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
        local = [only_local] if is_loopback(host) else []
        app = web.Application(middlewares=[errors, *local], client_max_size=_MOST_BODY)
        self._auth.serve(app)
        self._api.serve(app)
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
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
        listening = int(self._runner.addresses[0][1])
        self._auth.listens_on(listening)
        return listening

    async def stop(self) -> None:
        """End the live events, then the server, in at most two wall seconds."""
        await self._stream.close()
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
            async with aclosing(self._stream.subscribe()) as snapshots:
                async for text in snapshots:
                    if not response.prepared:
                        response.headers.update({**HEADERS, "Cache-Control": "no-store"})
                        await response.prepare(request)
                    # A page that has gone to sleep with its socket open must not be waited for for ever.
                    async with self._clock.timeout(self._clock.fleet_s(_WRITE_WALL_S)):
                        await response.write(f"data: {text}\n\n".encode())
        except TooManySubscribersError:
            raise web.HTTPServiceUnavailable(text="too many pages are open") from None
        except (ConnectionError, TimeoutError):
            return response
        if not response.prepared:
            raise web.HTTPServiceUnavailable(text="the service is stopping")
        return response

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._gauges(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, _request: web.Request) -> web.Response:
        await self._store.mark()
        return web.json_response(
            {
                "status": "ok",
                "feed_connected": self._feed.connected,
                "feed_lag_s": self._feed.lag_s(),
                "watchers": self._stream.subscribers,
            }
        )
