"""The accounts, and every movement of their cash: a balance is always its start plus the sum of its movements."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.deriv.categories.registry import category_of
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.vocabulary import Basis, Call, ContractStatus
from derivfleet.simulator.core.behaviours.registry import behaviour_of
from derivfleet.simulator.core.contract_states import value_of
from derivfleet.simulator.core.contracts import Contract, Sale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from derivfleet.deriv.pricing import Price, PriceSettings
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.market import Market

__all__ = ["Account", "AccountLedger", "Movement"]

_CONTRACT_IDS_FROM = 300_000_000_008
_TRANSACTION_IDS_FROM = 600_000_000_008
_ID_STEP = 20
_IDS_PER_SECOND = 1000
_EPOCH_FLOOR_S = 1_700_000_000
DERIVS_OWN_APP_ID = "2"
"""What a sale booked by expiry carries in legacy histories; seen in a capture."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of an account's cash."""

    transaction_id: int
    action: str
    """buy, sell, deposit or withdrawal."""
    amount: Decimal
    """Negative for a purchase."""
    balance_after: Decimal
    time_s: int
    contract_id: int | None = None
    app_id: str | None = None


@dataclass(slots=True)
class Account:
    """One account and all that ever happened on it."""

    loginid: str
    currency: str
    is_demo: bool
    start_balance: Decimal
    balance: Decimal
    movements: list[Movement] = field(default_factory=list[Movement])
    contracts: dict[int, Contract] = field(default_factory=dict[int, Contract])
    open: dict[int, Contract] = field(default_factory=dict[int, Contract])


class AccountLedger:
    """Buys, sells and settles. Every method raises RequestRefused before it changes anything, or not at all."""

    def __init__(self, market: Market, prices: PriceSettings, settlement_delay_s: int, start_s: int) -> None:
        """Ids grow from the start time on, so that the ledgers of two runs do not share any."""
        self._market = market
        self._prices = prices
        self._delay_s = settlement_delay_s
        offset = (start_s - _EPOCH_FLOOR_S) * _IDS_PER_SECOND
        self._next_contract_id = _CONTRACT_IDS_FROM + offset
        self._next_transaction_id = _TRANSACTION_IDS_FROM + offset
        self._due: list[tuple[int, int, str]] = []
        self.accounts: dict[str, Account] = {}

    def open_account(self, loginid: str, currency: str, balance: Decimal, *, is_demo: bool) -> Account:
        """Add an account."""
        account = Account(loginid, currency, is_demo, balance, balance)
        self.accounts[loginid] = account
        return account

    def buy(
        self,
        loginid: str,
        terms: Terms,
        most: Decimal,
        app_id: str,
        now_s: int,
        quoted: Price | None = None,
        stuck_s: int = 0,
    ) -> tuple[Contract, Movement]:
        """Buy at the quoted price, or at the current one, if it is not above ``most``.

        The contract is settled ``stuck_s`` later than it should be.
        """
        account, category = self.accounts[loginid], category_of(terms.contract_type)
        found = quoted or category.price(terms, self._prices)
        if terms.currency != account.currency:
            raise RequestRefused("NotDefaultCurrency", f"The account's currency is {account.currency}.")
        if found.ask > most:
            raise _too_dear(terms, found.ask, most)
        if found.ask > account.balance:
            raise RequestRefused(
                "InsufficientBalance",
                f"Your account balance ({account.balance:.2f} {account.currency}) is insufficient to buy this contract "
                f"({found.ask:.2f} {account.currency}).",
            )
        timeline, behaviour = category.timeline(terms, now_s), behaviour_of(terms)
        contract_id = self._next_contract_id
        self._next_contract_id += _ID_STEP
        movement = self._move(account, "buy", -found.ask, now_s, contract_id, app_id)
        contract = Contract(
            contract_id=contract_id,
            account=loginid,
            app_id=app_id,
            terms=terms,
            timeline=timeline,
            buy_price=found.ask,
            payout=found.payout,
            buy_transaction_id=movement.transaction_id,
            shortcode=category.shortcode(terms, found, timeline),
            longcode=behaviour.longcode(terms),
            currency=account.currency,
            late_s=self._delay_s + stuck_s,
        )
        account.contracts[contract_id] = account.open[contract_id] = contract
        self._look_after(contract, now_s)
        return contract, movement

    def sell(
        self, loginid: str, contract_id: int, least: Decimal, app_id: str, now_s: int
    ) -> tuple[Contract, Movement]:
        """Sell a contract back at its bid, if that is not below ``least``."""
        account = self.accounts[loginid]
        contract = self._running(account, contract_id, now_s)
        if Call.SELL not in category_of(contract.terms.contract_type).exits(contract.terms):
            raise RequestRefused("ResaleNotOffered", "Resale of this contract is not offered.")
        if now_s < contract.timeline.entry_s:
            raise RequestRefused("SameStartSellTime", "Contract cannot be sold at start time. Please wait.")
        bid = value_of(contract, self._market, self._prices, now_s)
        if bid < least:
            raise RequestRefused("PriceMoved", f"The contract's price has moved from {least:.2f} to {bid:.2f}.")
        return contract, self._close(account, contract, bid, now_s, app_id, ContractStatus.SOLD)

    def cancel(self, loginid: str, contract_id: int, app_id: str, now_s: int) -> tuple[Contract, Movement]:
        """Undo a purchase, where the contract's category has that."""
        account = self.accounts[loginid]
        contract = _found(account, contract_id)
        refund = behaviour_of(contract.terms).refund(contract, now_s)
        self._running(account, contract_id, now_s)
        return contract, self._close(account, contract, refund, now_s, app_id, ContractStatus.CANCELLED)

    def update(self, loginid: str, contract_id: int, change: Mapping[str, Decimal | None], now_s: int) -> Contract:
        """Set the limit orders of a contract, where its category has them; None removes one."""
        account = self.accounts[loginid]
        contract = _found(account, contract_id)
        if Call.CONTRACT_UPDATE not in category_of(contract.terms.contract_type).exits(contract.terms):
            raise RequestRefused("ContractUpdateNotAllowed", "Update is not allowed for this contract.")
        self._running(account, contract_id, now_s)
        limits = {**contract.limits, **change}
        contract.limits = {name: amount for name, amount in limits.items() if amount is not None}
        return contract

    def _running(self, account: Account, contract_id: int, now_s: int) -> Contract:
        contract = _found(account, contract_id)
        if contract.sale is not None:
            raise RequestRefused("ContractAlreadySold", "This contract has been sold.")
        if behaviour_of(contract.terms).outcome(contract, self._market, now_s) is not None:
            raise RequestRefused("BetExpired", "The contract has expired.")
        return contract

    def settle_due(self, now_s: int) -> list[tuple[Contract, Movement]]:
        """AccountLedger all contracts whose time has come, each exactly once, in order of that time."""
        settled: list[tuple[Contract, Movement]] = []
        while self._due and self._due[0][0] <= now_s:
            due_s, contract_id, loginid = heapq.heappop(self._due)
            account = self.accounts[loginid]
            contract = account.contracts[contract_id]
            if contract.sale is not None:
                continue
            looked_s = due_s - contract.late_s
            outcome = behaviour_of(contract.terms).outcome(contract, self._market, looked_s)
            if outcome is None:
                self._look_after(contract, looked_s)
                continue
            status = ContractStatus.WON if outcome.amount > 0 else ContractStatus.LOST
            settled.append((contract, self._close(account, contract, outcome.amount, due_s, DERIVS_OWN_APP_ID, status)))
        return settled

    def _look_after(self, contract: Contract, after_s: int) -> None:
        """Note when the contract can next end by itself."""
        look_s = behaviour_of(contract.terms).next_look_s(contract, after_s)
        if look_s is not None:
            heapq.heappush(self._due, (look_s + contract.late_s, contract.contract_id, contract.account))

    def reset_balance(self, loginid: str, now_s: int) -> Movement | None:
        """Bring a demo account back to its start balance; None if it is there."""
        account = self.accounts[loginid]
        difference = account.start_balance - account.balance
        if not difference:
            return None
        return self._move(account, "deposit" if difference > 0 else "withdrawal", difference, now_s, None, None)

    def _close(
        self, account: Account, contract: Contract, amount: Decimal, time_s: int, app_id: str, status: ContractStatus
    ) -> Movement:
        movement = self._move(account, "sell", amount, time_s, contract.contract_id, app_id)
        contract.sale = Sale(movement.transaction_id, amount, time_s, status)
        del account.open[contract.contract_id]
        return movement

    def _move(
        self, account: Account, action: str, amount: Decimal, time_s: int, contract_id: int | None, app_id: str | None
    ) -> Movement:
        account.balance += amount
        transaction_id = self._next_transaction_id
        self._next_transaction_id += _ID_STEP
        movement = Movement(transaction_id, action, amount, account.balance, time_s, contract_id, app_id)
        account.movements.append(movement)
        return movement


def _found(account: Account, contract_id: int) -> Contract:
    contract = account.contracts.get(contract_id)
    if contract is None:
        raise RequestRefused("ContractNotFound", "Contract not found for this account.")
    return contract


def _too_dear(terms: Terms, ask: Decimal, most: Decimal) -> RequestRefused:
    if terms.basis is Basis.STAKE:
        return RequestRefused(
            "ContractCreationFailure", "Contract's stake amount is more than the maximum purchase price."
        )
    return RequestRefused("PriceMoved", f"The contract's price has moved from {most:.2f} to {ask:.2f}.")
