"""Answers about the server and the socket itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call, StreamType

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.turn import Turn

__all__ = ["forget", "forget_all", "ping", "time", "website_status"]


def ping(turn: Turn, _request: requests.Ping) -> list[Frame]:
    """A sign of life."""
    return [turn.codec.encode_plain(Call.PING, "pong")]


def time(turn: Turn, _request: requests.Time) -> list[Frame]:
    """The server's clock."""
    return [turn.codec.encode_plain(Call.TIME, turn.now_s)]


def website_status(turn: Turn, request: requests.WebsiteStatus) -> list[Frame]:
    """The server's state and limits (legacy). A stream of it never says more: this server is always up."""
    stream_id = None
    if request.subscribe:
        key, kind = ("website_status",), StreamType.WEBSITE_STATUS
        stream_id = turn.connection.streams.open(Call.WEBSITE_STATUS, key, kind, turn.echo).id
    return [turn.codec.encode_website_status(turn.connection.limits, stream_id)]


def forget(turn: Turn, request: requests.Forget) -> list[Frame]:
    """End one stream."""
    return [turn.codec.encode_plain(Call.FORGET, int(turn.connection.streams.forget(request.forget)))]


def forget_all(turn: Turn, request: requests.ForgetAll) -> list[Frame]:
    """End all streams of some types, on this socket only."""
    types = request.forget_all
    ended = turn.connection.streams.forget_all([types] if isinstance(types, StreamType) else types)
    return [turn.codec.encode_plain(Call.FORGET_ALL, ended)]
