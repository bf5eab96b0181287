"""Contracts that somebody bought, and how they look from outside at a given second."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import ContractState
from derivfleet.deriv.contracts import settle
from derivfleet.deriv.pricing import PriceSettings, bid_price, cents
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import ContractStatus, ContractType, DurationUnit

if TYPE_CHECKING:
    from derivfleet.deriv.contracts import Course, Terms
    from derivfleet.simulator.core.market import Market

__all__ = ["Contract", "Sale", "is_won", "longcode_of", "state_of", "value_of"]

_NOTHING = Decimal("0.00")
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Sale:
    """How a contract ended."""

    transaction_id: int
    price: Decimal
    time_s: int
    by_client: bool
    """Sold back before its end, not settled."""


@dataclass(slots=True)
class Contract:
    """One purchase. Everything but ``sale`` is fixed when it is bought."""

    contract_id: int
    account: str
    app_id: str
    terms: Terms
    course: Course
    buy_price: Decimal
    payout: Decimal
    buy_transaction_id: int
    shortcode: str
    longcode: str
    currency: str
    sale: Sale | None = None

    @property
    def decided_s(self) -> int:
        """From which second on the outcome is known."""
        return max(self.course.exit_s, self.course.expiry_s)


_GOALS = {
    ContractType.CALL: "is strictly higher than entry spot",
    ContractType.PUT: "is strictly lower than entry spot",
    ContractType.CALLE: "is higher than or equal to entry spot",
    ContractType.PUTE: "is lower than or equal to entry spot",
    ContractType.DIGITMATCH: "ends with {digit}",
    ContractType.DIGITDIFF: "does not end with {digit}",
    ContractType.DIGITOVER: "ends with a digit over {digit}",
    ContractType.DIGITUNDER: "ends with a digit under {digit}",
    ContractType.DIGITEVEN: "ends with an even digit",
    ContractType.DIGITODD: "ends with an odd digit",
}
_UNITS = {
    DurationUnit.TICKS: "tick",
    DurationUnit.SECONDS: "second",
    DurationUnit.MINUTES: "minute",
    DurationUnit.HOURS: "hour",
}


def longcode_of(terms: Terms) -> str:
    """One sentence for people. Deriv's own wording is not documented."""
    goal = _GOALS[terms.contract_type].format(digit=terms.barrier)
    span = f"{terms.duration} {_UNITS[terms.unit]}{'' if terms.duration == 1 else 's'}"
    return f"Win payout if {SYMBOLS[terms.symbol].display_name} {goal} after {span}."


def is_won(contract: Contract, market: Market) -> bool:
    """Whether the contract wins; its exit tick must have come."""
    symbol, course = contract.terms.symbol, contract.course
    return settle(contract.terms, market.quote(symbol, course.entry_s), market.quote(symbol, course.exit_s))


def value_of(contract: Contract, market: Market, prices: PriceSettings, now_s: int) -> Decimal:
    """What an unsold contract is worth: its bid while it runs, its outcome once that is known."""
    if now_s >= contract.decided_s:
        return contract.payout if is_won(contract, market) else _NOTHING
    terms, course = contract.terms, contract.course
    if now_s < course.entry_s:
        return bid_price(terms, contract.payout, terms.seconds, settings=prices)
    spot, strike = market.quote(terms.symbol, now_s), market.quote(terms.symbol, course.entry_s)
    return bid_price(terms, contract.payout, contract.decided_s - now_s, spot, strike, prices)


def state_of(contract: Contract, market: Market, prices: PriceSettings, now_s: int) -> ContractState:
    """The contract as ``proposal_open_contract`` tells it at a second."""
    terms, course, sale = contract.terms, contract.course, contract.sale
    symbol = SYMBOLS[terms.symbol]
    entered, expired = now_s >= course.entry_s, now_s >= contract.decided_s
    seen_s = min(now_s, sale.time_s if sale else contract.decided_s)
    value = sale.price if sale else value_of(contract, market, prices, now_s)
    profit = value - contract.buy_price
    over = expired and not (sale and sale.by_client)
    entry = market.quote(terms.symbol, course.entry_s) if entered else None
    current = market.tick(terms.symbol, seen_s)
    return ContractState(
        contract_id=contract.contract_id,
        contract_type=terms.contract_type,
        symbol=terms.symbol,
        display_name=symbol.display_name,
        currency=contract.currency,
        status=_status(contract),
        is_sold=sale is not None,
        is_expired=over,
        is_settleable=over,
        is_valid_to_sell=sale is None and entered and not expired and not terms.in_ticks,
        buy_price=contract.buy_price,
        bid_price=value,
        payout=contract.payout,
        profit=profit,
        profit_percentage=cents(_HUNDRED * profit / contract.buy_price),
        sell_price=sale.price if sale else None,
        sell_time_s=sale.time_s if sale else None,
        purchase_time_s=course.purchase_s,
        start_s=course.purchase_s,
        expiry_s=course.expiry_s,
        entry_spot=entry,
        entry_s=course.entry_s if entered else None,
        exit_spot=market.quote(terms.symbol, course.exit_s) if over else None,
        exit_s=course.exit_s if over else None,
        current_spot=current.quote,
        current_spot_s=current.epoch_s,
        barrier=_barrier(contract, entry),
        tick_count=terms.duration if terms.in_ticks else None,
        tick_stream=tuple(
            (epoch_s, market.quote(terms.symbol, epoch_s)) for epoch_s in course.tick_epochs if epoch_s <= now_s
        ),
        buy_transaction_id=contract.buy_transaction_id,
        sell_transaction_id=sale.transaction_id if sale else None,
        shortcode=contract.shortcode,
        longcode=contract.longcode,
        decimals=symbol.decimals,
    )


def _barrier(contract: Contract, entry: Decimal | None) -> str | None:
    if contract.terms.contract_type.is_digit:
        return contract.terms.barrier
    return None if entry is None else str(entry)


def _status(contract: Contract) -> ContractStatus:
    sale = contract.sale
    if sale is None:
        return ContractStatus.OPEN
    if sale.by_client:
        return ContractStatus.SOLD
    return ContractStatus.WON if sale.price > 0 else ContractStatus.LOST
