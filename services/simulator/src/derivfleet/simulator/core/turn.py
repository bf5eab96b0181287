"""One request being answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.deriv.errors import RequestRefused

if TYPE_CHECKING:
    from derivfleet.deriv.dialects import Codec, Frame
    from derivfleet.simulator.core.book import Account
    from derivfleet.simulator.core.connection import Connection
    from derivfleet.simulator.core.effects import Effect
    from derivfleet.simulator.core.exchange import Exchange

__all__ = ["NS_PER_S", "Turn"]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """Who asks what, when. ``pushes`` collects what other streams have to hear because of it."""

    exchange: Exchange
    connection: Connection
    echo: Frame
    now_ns: int
    pushes: list[Effect] = field(default_factory=list["Effect"])

    @property
    def now_s(self) -> int:
        """The second that is running."""
        return self.now_ns // NS_PER_S

    @property
    def codec(self) -> Codec:
        """The dialect of the socket."""
        return self.connection.codec

    @property
    def account(self) -> Account:
        """Who is logged in. Raises RequestRefused (AuthorizationRequired) if nobody is."""
        loginid = self.connection.account
        if loginid is None:
            raise RequestRefused("AuthorizationRequired", "Please log in.")
        return self.exchange.book.accounts[loginid]

    def require_login(self) -> None:
        """Raises RequestRefused (AuthorizationRequired) if nobody is logged in."""
        _ = self.account

    @property
    def trader(self) -> Account:
        """The same for calls that trade. Raises RequestRefused (PermissionDenied) without that scope."""
        account = self.account
        if "trade" not in self.exchange.settings.scopes:
            raise RequestRefused("PermissionDenied", "Permission denied, requires trade scope.")
        return account
