"""What the metrics service can be told, by environment variables with the prefix ``DERIVFLEET_METRICS_``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from derivfleet.common.settings import ServerSettings

__all__ = ["PREFIX", "MetricsSettings", "key_of", "split_address"]

PREFIX = "DERIVFLEET_METRICS_"
_MAX_PORT = 65_535


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as host and port; port 0 takes a free one. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ValueError(f"must be host:port, not {text!r}")
    return host, int(port)


def _checked_address(text: str) -> str:
    split_address(text)
    return text


Address = Annotated[str, AfterValidator(_checked_address)]


class MetricsSettings(ServerSettings):
    """Where to listen, whom to follow, where to keep what was seen."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    listen: Address = "127.0.0.1:7600"
    """gRPC: the receiver of traces (for everybody) and the reports (for bearers of a token)."""
    web: Address = "127.0.0.1:7680"
    """HTTP: the page and its JSON, for observers and operators; without TLS, so loopback unless told otherwise."""
    gateway: Address = "127.0.0.1:7700"
    token_file: Path
    """This service's own token, which opens the gateway's order feed."""
    store: Path
    fleet: Path
    queue_spans: int = Field(default=50_000, ge=1)
    """How many received spans may wait for the disk before senders are told to try again."""
    span_days: int = Field(default=7, ge=1, le=3650)
    """How long spans and status samples are kept, in days of fleet time."""
    order_days: int = Field(default=400, ge=1, le=36500)
    """How long settled orders are kept: longer than spans, for they are money."""
    page_hours: int = Field(default=24, ge=1, le=24 * 31)
    """How far back the page's profit curve reaches."""


def key_of(field: str) -> str:
    """The environment variable of a setting, for errors."""
    return f"{PREFIX}{field}".upper()
