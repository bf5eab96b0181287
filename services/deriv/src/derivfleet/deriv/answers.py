"""What Deriv answers, as values that do not depend on the dialect.

Money and prices are Decimal, times epoch seconds, ids integers beyond 32 bits. ``None`` means that the wire did not
say. ``stream_id`` is ``subscription.id``, which is scoped to the socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.deriv.candles import Candle
    from derivfleet.deriv.ticks import Tick

__all__ = [
    "Authorized",
    "Balance",
    "BuyReceipt",
    "ContractState",
    "ErrorAnswer",
    "History",
    "OhlcUpdate",
    "PortfolioRow",
    "ProfitRow",
    "Quote",
    "SellReceipt",
    "StatementRow",
    "SymbolRow",
    "TickUpdate",
    "Transaction",
]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """``error`` of a frame; see ``errors.outcome_of`` for what it means."""

    code: str
    message: str
    details: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Authorized:
    """The login of a legacy socket. The balance is a snapshot."""

    loginid: str
    currency: str
    balance: Decimal
    is_virtual: bool
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Balance:
    """The account's cash."""

    balance: Decimal
    currency: str
    loginid: str
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class BuyReceipt:
    """Proof of a purchase."""

    contract_id: int
    transaction_id: int
    buy_price: Decimal
    payout: Decimal
    purchase_time_s: int
    start_time_s: int
    balance_after: Decimal
    shortcode: str
    longcode: str
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class SellReceipt:
    """Proof of a sale by the client. ``reference_id`` is the purchase's transaction."""

    contract_id: int
    transaction_id: int
    reference_id: int | None
    sold_for: Decimal
    balance_after: Decimal


@dataclass(frozen=True, slots=True)
class ContractState:
    """One contract as ``proposal_open_contract`` tells it. It is over when ``is_sold``, and only then."""

    contract_id: int
    contract_type: str
    symbol: str
    currency: str
    is_sold: bool
    buy_price: Decimal
    payout: Decimal
    status: str | None = None
    is_expired: bool = False
    is_settleable: bool = False
    is_valid_to_sell: bool = False
    is_valid_to_cancel: bool = False
    bid_price: Decimal | None = None
    profit: Decimal | None = None
    profit_percentage: Decimal | None = None
    sell_price: Decimal | None = None
    sell_time_s: int | None = None
    purchase_time_s: int | None = None
    start_s: int | None = None
    expiry_s: int | None = None
    entry_spot: Decimal | None = None
    entry_s: int | None = None
    exit_spot: Decimal | None = None
    exit_s: int | None = None
    current_spot: Decimal | None = None
    current_spot_s: int | None = None
    barrier: str | None = None
    tick_count: int | None = None
    tick_stream: tuple[tuple[int, Decimal], ...] = ()
    """(epoch, quote) of every tick so far, for tick contracts."""
    buy_transaction_id: int | None = None
    sell_transaction_id: int | None = None
    limits: dict[str, Decimal] = field(default_factory=dict[str, "Decimal"])
    """Amounts of its limit orders, by name: take_profit, stop_loss."""
    shortcode: str | None = None
    longcode: str | None = None
    display_name: str | None = None
    """Of the symbol; legacy only."""
    decimals: int | None = None
    """Of the symbol's quotes. Known to whoever writes the message, not on the wire."""
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One cash movement as the transaction stream pushes it. No shortcode; a purchase has a negative amount."""

    action: str
    transaction_id: int
    contract_id: int | None
    amount: Decimal
    balance: Decimal
    transaction_time_s: int
    currency: str | None = None
    symbol: str | None = None
    longcode: str | None = None
    purchase_time_s: int | None = None
    """On sales only."""
    expiry_s: int | None = None
    barrier: str | None = None
    """Legacy only, as is the next."""
    display_name: str | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One cash movement as the statement lists it. Shortcode and longcode only if a description was asked for."""

    action_type: str
    transaction_id: int
    contract_id: int | None
    amount: Decimal
    balance_after: Decimal
    transaction_time_s: int
    payout: Decimal | None = None
    purchase_time_s: int | None = None
    """On sales only, as is the next."""
    reference_id: int | None = None
    shortcode: str | None = None
    longcode: str | None = None
    app_id: int | None = None
    """Legacy only. The sale booked by expiry carries Deriv's own, so look at it on purchases only."""


@dataclass(frozen=True, slots=True)
class PortfolioRow:
    """One open contract."""

    contract_id: int
    transaction_id: int
    buy_price: Decimal
    payout: Decimal
    purchase_time_s: int
    contract_type: str | None = None
    symbol: str | None = None
    currency: str | None = None
    start_s: int | None = None
    expiry_s: int | None = None
    shortcode: str | None = None
    longcode: str | None = None
    app_id: int | None = None
    """Legacy only."""


@dataclass(frozen=True, slots=True)
class ProfitRow:
    """One closed contract. The last four only if a description was asked for."""

    contract_id: int
    transaction_id: int
    buy_price: Decimal
    sell_price: Decimal
    purchase_time_s: int
    sell_time_s: int | None
    payout: Decimal | None = None
    app_id: int | None = None
    """Legacy only."""
    shortcode: str | None = None
    longcode: str | None = None
    contract_type: str | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """A proposal. Its id can be bought once, on the socket that asked for it."""

    id: str
    ask_price: Decimal | None
    payout: Decimal | None
    spot: Decimal | None = None
    spot_s: int | None = None
    start_s: int | None = None
    expiry_s: int | None = None
    longcode: str | None = None
    minimum_stake: Decimal | None = None
    maximum_payout: Decimal | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class TickUpdate:
    """One tick. The quote has the symbol's decimals again, so its last digit can be trusted."""

    tick: Tick
    bid: Decimal | None = None
    ask: Decimal | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The first answer of ``ticks_history``: (epoch, quote) in order, or candles."""

    prices: tuple[tuple[int, Decimal], ...] = ()
    candles: tuple[Candle, ...] = ()
    decimals: int | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class OhlcUpdate:
    """The running candle of a stream, sent again with every tick."""

    symbol: str
    candle: Candle
    granularity_s: int
    epoch_s: int
    """Of the tick that caused it."""
    decimals: int | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """One symbol on offer. ``pip`` is the smallest move; on ticks ``pip_size`` is the number of decimals."""

    symbol: str
    display_name: str
    pip: Decimal
    is_open: bool
    is_suspended: bool
