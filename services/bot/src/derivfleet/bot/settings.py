"""What a bot process is told; all else about the bot stands in the fleet file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from derivfleet.common.settings import Address, ServiceSettings

__all__ = ["BotSettings"]


class BotSettings(ServiceSettings):
    """Read from ``DERIVFLEET_BOT_*``."""

    env_prefix: ClassVar[str] = "DERIVFLEET_BOT_"

    name: str
    """Which bot of the fleet file this process is."""
    fleet: Path = Path("fleet.yaml")
    gateway: str = "127.0.0.1:7700"
    """host:port of the gateway."""
    replica: str = ""
    """Which process of the bot this is: unlike any other's, as the pod's name. Empty takes host and process id."""
    metrics_listen: Address | Literal[""] = ""
    """host:port of ``/metrics`` for Prometheus; empty serves none."""
    token_file: Path
    """The file that holds this bot's token."""
