"""The JSON envelopes of the REST API: ``{"data", "meta"}`` and ``{"errors", "meta"}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.deriv.dialects import to_json

if TYPE_CHECKING:
    from derivfleet.deriv.dialects import Frame

__all__ = ["RestRefused", "data_response", "error_response", "json_response"]


@dataclass
class RestRefused(Exception):  # noqa: N818 - what the server did, not what broke
    """A REST call that is answered with an error."""

    status: int
    code: str
    message: str


def _meta(request: web.Request) -> Frame:
    return {"endpoint": request.path, "method": request.method, "timing": 0}


def json_response(content: Frame, status: int = 200) -> web.Response:
    """Any JSON; decimals become numbers."""
    return web.Response(text=to_json(content), status=status, content_type="application/json")


def data_response(request: web.Request, data: object) -> web.Response:
    """What was asked for."""
    return json_response({"data": data, "meta": _meta(request)})


def error_response(request: web.Request, refusal: RestRefused) -> web.Response:
    """Why not."""
    error = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
    return json_response({"errors": [error], "meta": _meta(request)}, refusal.status)
