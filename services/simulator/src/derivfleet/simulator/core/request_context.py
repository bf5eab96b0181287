"""One request being answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.deriv.errors import RequestRefused
from derivfleet.simulator.core.exchange_state import NS_PER_S

if TYPE_CHECKING:
    from derivfleet.deriv.dialects import Codec, Frame
    from derivfleet.simulator.core.account_ledger import Account
    from derivfleet.simulator.core.connection import Connection
    from derivfleet.simulator.core.effects import Effect
    from derivfleet.simulator.core.exchange_state import ExchangeState
    from derivfleet.simulator.core.faults import FaultKind, FaultRule

__all__ = ["NS_PER_S", "RequestContext"]


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks what, when. ``pushes`` collects what other streams have to hear because of it."""

    exchange: ExchangeState
    connection: Connection
    echo: Frame
    now_ns: int
    fault: FaultRule | None = None
    pushes: list[Effect] = field(default_factory=list["Effect"])

    @property
    def now_s(self) -> int:
        """The second that is running."""
        return self.now_ns // NS_PER_S

    @property
    def codec(self) -> Codec:
        """The dialect of the socket."""
        return self.connection.codec

    def fault_s(self, kind: FaultKind) -> float:
        """The delay of the fault that happens to this call, if it is of this kind."""
        return self.fault.delay_s if self.fault is not None and self.fault.kind is kind else 0.0

    @property
    def account(self) -> Account:
        """Who is logged in. Raises RequestRefused: AuthorizationRequired if nobody is, InvalidToken if not any more."""
        loginid = self.connection.account
        if self.connection.revoked:
            raise RequestRefused("InvalidToken", "The token is invalid.")
        if loginid is None:
            raise RequestRefused("AuthorizationRequired", "Please log in.")
        return self.exchange.ledger.accounts[loginid]

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
