"""Who may see the page: a token of an observer or operator, shown as a bearer or kept by the browser in a cookie."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Role
from derivfleet.metrics.periods import FieldError
from derivfleet.metrics.store import StoreError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from derivfleet.common.rpc.identity import Identities, Identity

__all__ = ["HEADERS", "Gate", "errors", "is_loopback", "only_local"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_READERS = frozenset({Role.OBSERVER, Role.OPERATOR})
_OPEN = frozenset({"/", "/{name}", "/healthz", "/metrics", "/session"})
"""The page's own files, health, gauges for Prometheus, and the way in. All else is for readers."""
_COOKIE_WALL_S = 30 * 86_400
"""A page that is left open stays open; the token itself may end sooner, and then so does this."""


class Gate:
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


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
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
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response


def _problem(status: int, message: str, field: str = "") -> web.Response:
    error = {"message": message, **({"field": field} if field else {})}
    return web.Response(status=status, text=json.dumps({"error": error}), content_type="application/json")


@web.middleware
async def only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On loopback, answer only to loopback's names.

    Any web site can point a name of its own at 127.0.0.1 and have the browser ask us (DNS rebinding); what gives it
    away is the Host header.
    """
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    if not is_loopback(host.removeprefix("[").removesuffix("]")):
        raise web.HTTPForbidden(text="this page answers to 127.0.0.1 and localhost only")
    return await handler(request)
