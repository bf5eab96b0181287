"""One account with all that serves it: pool, limits, orders, feeds, reconciling."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.errors import ConfigurationError
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.login import CredentialError, dialect_of, login_of
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.account.limits_table import table_as_told, table_of
from derivfleet.gateway.core.leases.leases import Leases
from derivfleet.gateway.core.market.coalescing import Savings
from derivfleet.gateway.core.quota import GATEWAY, Quota
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.market.feeds import Feeds
from derivfleet.gateway.market.reads import Reads
from derivfleet.gateway.orders.account_orders import AccountOrders
from derivfleet.gateway.upstream.admission import Admission
from derivfleet.gateway.upstream.client import AccountClient
from derivfleet.gateway.upstream.pool import ConnectionRole, Pool
from derivfleet.gateway.upstream.streams import StandingStream

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Account, Fleet
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.connection.connection import Frame
    from derivfleet.connection.login import Login
    from derivfleet.gateway.core.orders.circuit_breaker import Breaker
    from derivfleet.gateway.journal.feed import Feed
    from derivfleet.gateway.reconciling.reconciler import Reconciler
    from derivfleet.gateway.settings import GatewaySettings

__all__ = ["AccountRoom"]

_log = structlog.get_logger()

DRAIN_WALL_S = 3.0
LEASE_LASTS_S = 3.0
"""A replica that has not renewed for so long has lost its symbols. With a renewal a second, two may go missing; wall or
fleet time, whichever is longer, for processes do not renew faster when the clock runs faster."""
STRAY_S = 5.0
"""How long after its answer was given up a frame may still reach Deriv. Wall time, for networks do not run faster when
the clock does."""
HOUR_NS = 3600 * 10**9


class AccountRoom:
    """Everything of one account. ``recover``, then ``start`` before use."""

    def __init__(
        self,
        account: Account,
        fleet: Fleet,
        settings: GatewaySettings,
        clock: Clock,
        telemetry: Telemetry,
        feed: Feed,
        login: Login | None = None,
    ) -> None:
        """``login`` is another way in than the one of the settings, as to a Deriv in the same process."""
        self.key = account.key
        self.dialect = dialect_of(settings.app_id, account.dialect)
        self.bots = frozenset(bot.name for bot in fleet.bots if fleet.account_of(bot) is account)
        limits = table_of(self.dialect, account)
        weights = {bot.name: bot.weight for bot in fleet.bots if bot.name in self.bots}
        stray_ns = round(clock.fleet_s(STRAY_S) * 1e9)
        caps = {
            bot.name: {Call(call): most for call, most in bot.caps.items()}
            for bot in fleet.bots
            if bot.name in self.bots
        }
        fastest_ns = round(clock.fleet_s(account.limits.fastest_answer_ms / 1e3) * 1e9)
        drift = account.limits.clock_drift_ppm / 1e6
        self.quota = Quota(limits, account.limits.headroom, weights, caps, stray_ns, fastest_ns, drift)
        codec = replace(dialect(self.dialect), limits=limits)
        login = login or login_of(codec, settings, account.login_id, clock)
        self.pool = Pool(account.key, login, clock, self._count_login)
        self.pool.on_login = self._remember_login
        self._journal = feed.journal
        self._admission = Admission(self.quota, clock, lambda blocks: self._journal.write_blocks(account.key, blocks))
        self.client = AccountClient(self.pool, self._admission, clock, telemetry)
        self.feed = feed
        self.orders = AccountOrders(self.client, feed.journal, telemetry, account.currency)
        if self.dialect is Dialect.LEGACY:
            self.orders.evidence.own_app_id = int(settings.app_id)
        self.savings = Savings()
        self.feeds = Feeds(self.client, self.savings)
        self.reads = Reads(self.client, self.feeds, self.savings)
        lasts_ns = round(max(LEASE_LASTS_S, clock.fleet_s(LEASE_LASTS_S)) * 1e9)
        self.leases = {bot.name: Leases(bot.symbols, lasts_ns) for bot in fleet.bots if bot.name in self.bots}
        self.balance: Decimal | None = None
        self._is_login_written = False
        self._clock = clock
        self._currency = account.currency
        self._account = account
        self._standing: list[StandingStream] = []
        self._reconciler: Reconciler | None = None

    @property
    def breaker(self) -> Breaker:
        """Whether orders are opened, since when, and why not."""
        return self.orders.circuit_breaker.breaker

    @property
    def held(self) -> Counter[str]:
        """What it holds on to, by name."""
        held = Counter(
            turns_waiting=self._admission.waiting,
            orders_open=len(self.orders.registry.open),
            orders_unknown=len(self.orders.registry.unknown),
            orders_remembered=self._journal.remembered,
        )
        for slot in self.pool.slots.values():
            if slot.connection is not None:
                held.update(slot.connection.held)
        return held

    def recover(self) -> None:
        """Take up the orders and count the calls of an earlier run; before any call is served."""
        now_ns = self._clock.now_ns()
        self.pool.login_id = self._journal.login_id(self.key)
        self._is_login_written = bool(self.pool.login_id)
        self.quota.restore(self._journal.blocks(self.key, now_ns - 2 * HOUR_NS), now_ns)
        self.orders.recover()

    async def start(self) -> None:
        """Connect and listen to the account.

        Raises ConfigurationError if the credential is wrong or the account holds real money.
        """
        try:
            await self.pool.start()
        except CredentialError as error:
            await self.pool.close()
            raise ConfigurationError(error.key, error.problem) from None
        transactions = requests.Transaction(transaction=1, subscribe=1)
        self._standing.append(StandingStream(self.client, transactions, self.orders.settlements.on_transaction))
        balance = requests.Balance(balance=1, subscribe=1)
        self._standing.append(StandingStream(self.client, balance, self._take_balance))
        self._reconciler = self.orders.reconciler()

    async def entered(self) -> None:
        """Wait until there is a connection. Raises ConfigurationError if the account holds another currency."""
        await self.pool.ready(ConnectionRole.ORDERS)
        facts = self.pool.facts
        if facts is not None and facts.currency != self._currency:
            raise ConfigurationError(
                f"accounts.{self.key}.currency", f"is {self._currency}, but {facts.login_id} holds {facts.currency}"
            )

    async def learn_limits(self) -> None:
        """Ask a legacy server for its limits; the new API has no such call."""
        if self.dialect is not Dialect.LEGACY:
            return
        try:
            frame = await self.client.call(GATEWAY, requests.WebsiteStatus(website_status=1))
            told = self.pool.login.codec.decode_call_limits(frame)
        except (AnswerLostError, CallRefusedError, MalformedAnswer) as error:
            _log.warning("Deriv did not tell its limits, keeping the built-in ones", problem=str(error))
            return
        self._admission.adopt(table_as_told(self.quota.table, self._account, told))

    async def stop(self) -> None:
        """Let purchases under way end, then close."""
        await self.orders.drain(self._clock.fleet_s(DRAIN_WALL_S))
        if self._reconciler is not None:
            await self._reconciler.stop()
        for standing in self._standing:
            standing.cancel()
        self.reads.stop()
        await self.feeds.stop()
        await self.pool.close()
        await self.orders.close()
        self._admission.close()

    def _count_login(self, calls: tuple[Call, ...]) -> None:
        # Entries are not held back: without a connection nothing else goes either, and backoff bounds them.
        for call in calls:
            self.quota.note(call, self._clock.now_ns())

    def _remember_login(self, login_id: str) -> None:
        if login_id and not self._is_login_written:
            with suppress(JournalError):  # it has been logged, and is tried again with the next connection
                self._journal.write_login_id(self.key, login_id)
                self._is_login_written = True

    def _take_balance(self, frame: Frame) -> None:
        try:
            self.balance = self.pool.login.codec.decode_balance(frame).balance
        except MalformedAnswer as error:
            _log.warning("balance without use", problem=str(error))
