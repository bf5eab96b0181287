"""The legacy dialect's way in: one socket for everything, named by an app id, logged in by a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from derivfleet.simulator.wire.connection_hub import ConnectionHub

__all__ = ["LegacyEndpoints"]


class LegacyEndpoints:
    """The handler of the socket's upgrade. Any further query (``l``, ``brand``) is accepted and means nothing here."""

    def __init__(self, hub: ConnectionHub) -> None:
        self._hub = hub

    @property
    def routes(self) -> list[web.RouteDef]:
        """The one there is."""
        return [web.get("/websockets/v3", self._socket)]

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        app_id = request.query.get("app_id", "")
        if not self._hub.exchange.logins.knows_legacy_app(app_id):
            return web.Response(status=401, text="InvalidAppID")
        if self._hub.exchange.faults.on_handshake():
            return web.Response(status=401, text="Unauthorized")
        if not web.WebSocketResponse().can_prepare(request):
            return web.Response(status=400, text="This endpoint wants a WebSocket upgrade.")
        return await self._hub.serve(request, Dialect.LEGACY, app_id)
