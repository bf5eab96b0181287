"""What the gateway can be told."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation at run time
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from derivfleet.common.settings import Address, ServerSettings, ServiceSettings
from derivfleet.gateway.journal.journal import Sync  # noqa: TC001 - as above

__all__ = ["DerivSettings", "GatewaySettings"]


class DerivSettings(ServiceSettings):
    """Where Deriv is, and what logs in there: the account's credential has no prefix."""

    deriv_url: str = "https://api.derivws.com"
    legacy_url: str = "wss://ws.derivws.com"
    deriv_token: Annotated[SecretStr, Field(validation_alias="DERIV_TOKEN")]
    app_id: Annotated[str, Field(validation_alias="DERIV_APP_ID")]

    @field_validator("deriv_token")
    @classmethod
    def _has_token(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("is empty: set it to the account's API token")
        return value

    @field_validator("app_id")
    @classmethod
    def _has_app(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty: set it to the id of the app that you registered with Deriv")
        return value

    @property
    def token(self) -> str:
        return self.deriv_token.get_secret_value()


class GatewaySettings(DerivSettings, ServerSettings):
    """The gateway's environment: ``DERIVFLEET_GATEWAY_…``."""

    model_config = ConfigDict(populate_by_name=True)
    env_prefix: ClassVar[str] = "DERIVFLEET_GATEWAY_"

    listen: str = "127.0.0.1:7700"
    metrics_listen: Address | Literal[""] = ""
    """host:port of ``/metrics`` for Prometheus; empty serves none."""
    fleet: Path
    journal: Annotated[str, BeforeValidator(str)]
    """The path of an SQLite file, or postgresql://user@host:5432/database."""
    journal_password: SecretStr = SecretStr("")
    """For PostgreSQL; never in the address."""
    journal_sync: Sync = "sent"
    journal_wait_s: Annotated[float, Field(ge=0)] = 30.0
    """How long a start waits for another gateway to let go of a PostgreSQL journal, in seconds of the wall's clock."""
    journal_hot_days: Annotated[float, Field(ge=0.05)] = 3.0
    """After so many days orders that have ended go to the archive."""
    journal_feed_days: Annotated[float, Field(gt=0)] = 30.0
    """So long can a reader of the order feed stay away and miss nothing."""
