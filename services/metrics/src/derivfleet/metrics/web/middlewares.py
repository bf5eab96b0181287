"""What every request and answer of the page goes through: security headers, errors as JSON, the check of the host."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.metrics.reports.periods import FieldError
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

__all__ = ["HEADERS", "errors", "is_loopback", "only_local"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


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
