"""The state of the simulated service: its markets, accounts, logins, limits, faults and sockets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import ContractState, Quote
from derivfleet.deriv.categories.registry import category_of
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.account_ledger import AccountLedger
from derivfleet.simulator.core.behaviours.registry import behaviour_of
from derivfleet.simulator.core.connection import Connection
from derivfleet.simulator.core.contract_states import state_of
from derivfleet.simulator.core.faults import Faults
from derivfleet.simulator.core.limits import CallCounts, CallLimits
from derivfleet.simulator.core.logins import Logins
from derivfleet.simulator.core.market import Market
from derivfleet.simulator.core.streams import Streams
from derivfleet.simulator.core.windows import LinkedWindows

if TYPE_CHECKING:
    from derivfleet.simulator.core.connection import Proposal
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.settings import SimulatorSettings

__all__ = ["NS_PER_S", "Credentials", "ExchangeState"]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What logs in: one token and the app that it belongs to."""

    token: str
    app_id: str

    def __repr__(self) -> str:
        return f"Credentials(app_id={self.app_id!r})"


class ExchangeState:
    """All state of the simulated service, and what it knows when it is asked."""

    def __init__(self, seed: str, credentials: Credentials, settings: SimulatorSettings, now_s: int) -> None:
        self.seed = seed
        self.settings = settings
        self.market = Market(seed)
        self.ledger = AccountLedger(self.market, settings.prices, settings.settlement_delay_s, now_s)
        self.logins = Logins(seed, credentials.token, credentials.app_id, settings.otp_valid_s)
        self.faults = Faults(seed, now_s * NS_PER_S)
        for fault in settings.faults:
            self.faults.add(fault.rule)
        self.counts = CallCounts()
        self.connections: dict[int, Connection] = {}
        self.limits = CallLimits(settings.window_kind, count_refused=settings.count_refused)
        self._tables = {name: settings.limits_of(name) for name in Dialect}
        self._skew_ns = round(settings.clock_skew_s * NS_PER_S)
        self._rest: dict[str, LinkedWindows] = {}
        self._connected = 0
        self.second = now_s
        """The last one that has passed."""
        self.options_account, self.legacy_account = (
            self.ledger.open_account(
                loginid, settings.currency, settings.start_balance, is_demo=settings.account_type == "demo"
            )
            for loginid in (settings.options_account, settings.legacy_account)
        )

    def own_ns(self, now_ns: int) -> int:
        """What the service's own clock shows."""
        return now_ns + self._skew_ns

    # Sockets

    def has_room(self, loginid: str) -> bool:
        """Whether one more socket of this account is admitted."""
        held = sum(connection.account == loginid for connection in self.connections.values())
        return held < self.settings.connections_per_user

    def connect(self, name: Dialect, app_id: str, address: str, now_ns: int, account: str | None = None) -> Connection:
        """A socket was opened. With an account it is logged in from the start."""
        self._connected += 1
        table = self._tables[name]
        connection = Connection(
            number=self._connected,
            codec=dialect(name),
            limits=table,
            app_id=app_id,
            address=address,
            streams=Streams(f"{self.seed}/stream/{self._connected}", table.streams),
            last_traffic_ns=self.own_ns(now_ns),
            account=account,
        )
        self.connections[connection.number] = connection
        return connection

    def disconnect(self, number: int) -> None:
        """A socket is gone, and with it its streams and proposals."""
        self.connections.pop(number, None)

    def admit_rest(self, user: str, address: str, now_ns: int) -> bool:
        """Count a REST call against its user and its address."""
        caps = self._tables[Dialect.OPTIONS].rest
        admitted = True
        for key, windows in ((f"user/{user}", caps.per_user), (f"address/{address}", caps.per_address)):
            if key not in self._rest:
                self._rest[key] = LinkedWindows(
                    self.settings.window_kind, windows, count_refused=self.settings.count_refused
                )
            admitted = self._rest[key].admit(now_ns) and admitted
        return admitted

    def clear_faults(self) -> None:
        """Remove all faults; slow sockets are quick again, silent ones stay silent."""
        self.faults.clear()
        for connection in self.connections.values():
            connection.slow_s = 0.0

    # What is told about contracts and prices

    def state(self, contract: Contract, now_s: int, stream_id: str | None = None) -> ContractState:
        """A contract as it stands."""
        found = state_of(contract, self.market, self.settings.prices, now_s)
        return replace(found, stream_id=stream_id) if stream_id else found

    def quote(self, proposal: Proposal, proposal_id: str, now_s: int, stream_id: str | None = None) -> Quote:
        """A price as it stands."""
        terms, category = proposal.terms, category_of(proposal.terms.contract_type)
        bounds = self.settings.prices.bounds(category.name, category.bounds)
        tick = self.market.tick(terms.symbol, now_s)
        return Quote(
            id=proposal_id,
            ask_price=proposal.price.ask,
            payout=proposal.price.payout,
            spot=tick.quote,
            spot_s=tick.epoch_s,
            start_s=now_s,
            expiry_s=category.timeline(terms, now_s).expiry_s,
            longcode=behaviour_of(terms).longcode(terms),
            minimum_stake=bounds.minimum_stake,
            maximum_payout=bounds.maximum_payout,
            stream_id=stream_id,
        )
