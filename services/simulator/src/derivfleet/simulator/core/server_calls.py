"""Answers about the server and the socket itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call, StreamType

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.request_context import RequestContext

__all__ = ["forget", "forget_all", "ping", "time", "website_status"]


def ping(context: RequestContext, _request: requests.Ping) -> list[Frame]:
    """A sign of life."""
    return [context.codec.encode_plain(Call.PING, "pong")]


def time(context: RequestContext, _request: requests.Time) -> list[Frame]:
    """The server's clock."""
    return [context.codec.encode_plain(Call.TIME, context.now_s)]


def website_status(context: RequestContext, request: requests.WebsiteStatus) -> list[Frame]:
    """The server's state and limits (legacy). A stream of it never says more: this server is always up."""
    stream_id = None
    if request.subscribe:
        key, kind = ("website_status",), StreamType.WEBSITE_STATUS
        stream_id = context.connection.streams.open(Call.WEBSITE_STATUS, key, kind, context.echo).id
    return [context.codec.encode_website_status(context.connection.limits, stream_id)]


def forget(context: RequestContext, request: requests.Forget) -> list[Frame]:
    """End one stream."""
    return [context.codec.encode_plain(Call.FORGET, int(context.connection.streams.forget(request.forget)))]


def forget_all(context: RequestContext, request: requests.ForgetAll) -> list[Frame]:
    """End all streams of some types, on this socket only."""
    types = request.forget_all
    ended = context.connection.streams.forget_all([types] if isinstance(types, StreamType) else types)
    return [context.codec.encode_plain(Call.FORGET_ALL, ended)]
