"""Who may see the page: a token of an observer or operator, shown as a bearer or kept by the browser in a cookie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Role
from derivfleet.metrics.reports.periods import FieldError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from derivfleet.common.rpc.identity import Identities, Identity

__all__ = ["Auth"]

_READERS = frozenset({Role.OBSERVER, Role.OPERATOR})
_OPEN = frozenset({"/", "/{name}", "/healthz", "/metrics", "/session"})
"""The page's own files, health, gauges for Prometheus, and the way in. All else is for readers."""
_COOKIE_WALL_S = 30 * 86_400
"""A page that is left open stays open; the token itself may end sooner, and then so does this."""


class Auth:
    """Knows the reader behind a request. The cookie is the token: there is no session that a restart could forget."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._port = 0

    def serve(self, app: web.Application) -> None:
        """Guard what tells of the fleet, and let people sign in and out."""
        app.middlewares.append(self._guard())
        app.router.add_get("/session", self._who)
        app.router.add_post("/session", self._sign_in)
        app.router.add_delete("/session", self._sign_out)

    def listens_on(self, port: int) -> None:
        """Tell the port: cookies are shared by all ports of a machine, and fleets may run side by side."""
        self._port = port

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return f"derivfleet_{self._port}"

    async def reader(self, token: str) -> Identity:
        """The bearer of a token who may read. Raises HTTPUnauthorized, HTTPForbidden or HTTPServiceUnavailable."""
        try:
            identity = await self._identities.identify(token) if token else None
        except IdentitiesUnavailableError:
            raise web.HTTPServiceUnavailable(text="tokens cannot be checked now: try again") from None
        if identity is None:
            raise web.HTTPUnauthorized(text="no valid token: `derivfleet page` prints the link that signs you in")
        if identity.role not in _READERS:
            raise web.HTTPForbidden(text=f"{identity.name} has the role {identity.role}, which may not read the page")
        return identity

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            if resource is None or resource.canonical not in _OPEN:
                await self.reader(self._token_of(request))
            return await handler(request)

        return guard

    def _token_of(self, request: web.Request) -> str:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        return bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(self.cookie, "")

    async def _who(self, request: web.Request) -> web.Response:
        try:
            identity = await self.reader(self._token_of(request))
        except (web.HTTPUnauthorized, web.HTTPForbidden):
            return web.json_response({"name": None, "role": None})
        return web.json_response({"name": identity.name, "role": identity.role})

    async def _sign_in(self, request: web.Request) -> web.Response:
        # Another site's form cannot send JSON without being asked first, and it is never allowed.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text='send JSON: {"token": "…"}')
        try:
            token = json.loads(await request.text())["token"]
        except (ValueError, KeyError, TypeError):
            raise FieldError("token", "must be a text in a JSON object") from None
        if not isinstance(token, str):
            raise FieldError("token", "must be a text")
        identity = await self.reader(token.strip())
        response = web.json_response({"name": identity.name, "role": identity.role})
        response.set_cookie(
            self.cookie,
            token.strip(),
            max_age=_COOKIE_WALL_S,
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto", request.scheme) == "https",
        )
        return response

    async def _sign_out(self, _request: web.Request) -> web.Response:
        response = web.Response(status=204)
        response.del_cookie(self.cookie, httponly=True, samesite="Strict")
        return response
