"""What the gateway can be told."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation at run time
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr

from derivfleet.common.settings import Address, ServerSettings
from derivfleet.connection.settings import DerivSettings
from derivfleet.gateway.journal.journal import Sync  # noqa: TC001 - as above

__all__ = ["GatewaySettings"]


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
