"""The ports of a local fleet: four, from one base."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BASE_PORT", "HOST", "MOST_BASE_PORT", "Ports", "check_free"]

HOST = "127.0.0.1"
BASE_PORT = 7600
MOST_BASE_PORT = 65_335


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each service of a local fleet listens, as host:port."""

    metrics: str
    web: str
    gateway: str
    simulator: str

    @classmethod
    def from_base(cls, base: int) -> Self:
        """All on loopback: metrics at the base, its page 80 above, the gateway 100, the simulator 200."""
        return cls(*(f"{HOST}:{base + offset}" for offset in (0, 80, 100, 200)))

    def needed(self, *, simulated: bool) -> list[tuple[str, str]]:
        """Every service that listens, with its address."""
        services = [("metrics service", self.metrics), ("web page", self.web), ("gateway", self.gateway)]
        return [*services, ("simulator", self.simulator)] if simulated else services


def check_free(addresses: Iterable[tuple[str, str]]) -> None:
    """Try every (service, host:port); raises ConfigurationError naming the first port that is in use."""
    for service, address in addresses:
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: what is left of connections that ended a moment ago does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                raise ConfigurationError(
                    f"port {port}",
                    f"the {service} cannot listen there: {error.strerror or error}; "
                    "stop what uses it or choose other ports with --ports",
                ) from None
