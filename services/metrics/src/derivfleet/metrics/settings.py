"""What the metrics service can be told, by environment variables with the prefix ``DERIVFLEET_METRICS_``."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, SecretStr, field_validator

from derivfleet.common.settings import Address, ServerSettings

__all__ = ["PREFIX", "MetricsSettings", "key_of"]

PREFIX = "DERIVFLEET_METRICS_"
_URL = re.compile(r"https?://[^\s/@]+(/[^\s]*)?")


class MetricsSettings(ServerSettings):
    """Where to listen, whom to follow, where to keep what was seen."""

    model_config = ConfigDict(populate_by_name=True)
    env_prefix: ClassVar[str] = PREFIX

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
    """How long raw spans and status samples are kept, in days of fleet time; what was summed up stays."""
    order_days: int = Field(default=400, ge=1, le=36500)
    """How long settled orders are kept: longer than spans, for they are money."""
    grace_s: float = Field(default=120.0, ge=0, le=86_400)
    """How long after its end a report waits, in fleet time, for what is known to be missing before it is final."""
    page_hours: int = Field(default=24, ge=1, le=24 * 31)
    """How far back the page's profit curve reaches."""
    copied_as: str = Field(default="", max_length=40)
    """What is added to the fleet's name at Supabase, so that a simulated account is not taken for the real one."""
    supabase_url: Annotated[str, Field(validation_alias="SUPABASE_URL")] = ""
    """The project's address, as https://abcdefgh.supabase.co; with the key it turns replication on."""
    supabase_service_key: Annotated[SecretStr, Field(validation_alias="SUPABASE_SERVICE_KEY")] = SecretStr("")
    """Its service role's (or secret) key: it may write every table, so only this service gets it."""
    webhook_url: Annotated[SecretStr, Field(validation_alias="ALERT_WEBHOOK_URL")] = SecretStr("")
    """Where alerts are posted; whoever knows such an address can post there, so it is a secret."""
    telegram_token: Annotated[SecretStr, Field(validation_alias="TELEGRAM_BOT_TOKEN")] = SecretStr("")
    """Of the bot that tells alerts to `alerts.telegram` of the fleet file."""

    @field_validator("supabase_url")
    @classmethod
    def _is_a_project(cls, value: str) -> str:
        if value and not _URL.fullmatch(value):
            raise ValueError("must be like https://abcdefgh.supabase.co")
        return value.rstrip("/")

    @field_validator("webhook_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _URL.fullmatch(value.get_secret_value()):
            raise ValueError("must begin with https:// or http://")
        return value


def key_of(field: str) -> str:
    """The environment variable of a setting, for errors."""
    return f"{PREFIX}{field}".upper()
