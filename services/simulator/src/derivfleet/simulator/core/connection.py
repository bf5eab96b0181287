"""One socket as the exchange sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.simulator.core.windows import Window, WindowKind

if TYPE_CHECKING:
    from derivfleet.deriv.dialects import Codec
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.pricing import Price
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.effects import Send
    from derivfleet.simulator.core.streams import Streams

__all__ = ["Connection", "Proposal"]

_NS_PER_S = 1_000_000_000
_UNBOUNDED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A price that can be bought once, on this socket, until it expires."""

    terms: Terms
    price: Price
    valid_until_ns: int


@dataclass(slots=True)
class Connection:
    """A socket's state. ``account`` is None until it is logged in, and for ever on the public endpoint."""

    number: int
    codec: Codec
    limits: LimitsTable
    app_id: str
    address: str
    streams: Streams
    last_traffic_ns: int
    account: str | None = None
    proposals: dict[str, Proposal] = field(default_factory=dict[str, Proposal])
    proposals_made: int = 0
    slow_s: float = 0.0
    """How late everything that it sends is, by a fault."""
    frozen: bool = False
    """Whether it neither reads nor sends any more, by a fault."""
    revoked: bool = False
    """Whether its login is not valid any more, by a fault."""
    held: list[Send] = field(default_factory=list["Send"])
    """Answers that wait for the next one to go first, by a fault."""
    pings: Window = field(init=False)

    def __post_init__(self) -> None:
        most = self.limits.pings_per_second
        self.pings = Window(WindowKind.SLIDING, _NS_PER_S, _UNBOUNDED if most is None else most)

    @property
    def limits_key(self) -> str:
        """Whose calls these are: the app with the account, or with the address before a login."""
        return f"{self.codec.dialect}/{self.app_id}/{self.account or self.address}"
