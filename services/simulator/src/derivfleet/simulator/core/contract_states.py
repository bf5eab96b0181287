"""How a contract looks from outside at a given second."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import ContractState
from derivfleet.deriv.categories.registry import category_of
from derivfleet.deriv.pricing import PriceSettings, cents
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Call, ContractStatus
from derivfleet.simulator.core.behaviours.registry import behaviour_of

if TYPE_CHECKING:
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.market import Market

__all__ = ["state_of", "value_of"]

_HUNDRED = Decimal(100)


def value_of(contract: Contract, market: Market, prices: PriceSettings, now_s: int) -> Decimal:
    """What an unsold contract is worth: its bid while it runs, its outcome once that is known."""
    behaviour = behaviour_of(contract.terms)
    outcome = behaviour.outcome(contract, market, now_s)
    return behaviour.value(contract, market, prices, now_s) if outcome is None else outcome.amount


def state_of(contract: Contract, market: Market, prices: PriceSettings, now_s: int) -> ContractState:
    """The contract as ``proposal_open_contract`` tells it at a second."""
    terms, at, sale = contract.terms, contract.timeline, contract.sale
    symbol, behaviour = SYMBOLS[terms.symbol], behaviour_of(terms)
    outcome = behaviour.outcome(contract, market, now_s)
    entered = now_s >= at.entry_s
    seen_s = min(now_s, sale.time_s if sale else now_s if outcome is None else outcome.decided_s)
    value = sale.price if sale else value_of(contract, market, prices, now_s)
    profit = value - contract.buy_price
    over = None if sale and sale.by_client else outcome
    entry = market.quote(terms.symbol, at.entry_s) if entered else None
    current = market.tick(terms.symbol, seen_s)
    runs = sale is None and outcome is None
    exits = category_of(terms.contract_type).exits(terms) if runs else frozenset[Call]()
    return ContractState(
        contract_id=contract.contract_id,
        contract_type=terms.contract_type,
        symbol=terms.symbol,
        display_name=symbol.display_name,
        currency=contract.currency,
        status=sale.status if sale else ContractStatus.OPEN,
        is_sold=sale is not None,
        is_expired=over is not None,
        is_settleable=over is not None,
        is_valid_to_sell=entered and Call.SELL in exits,
        is_valid_to_cancel=Call.CANCEL in exits,
        buy_price=contract.buy_price,
        bid_price=value,
        payout=contract.payout,
        profit=profit,
        profit_percentage=cents(_HUNDRED * profit / contract.buy_price),
        sell_price=sale.price if sale else None,
        sell_time_s=sale.time_s if sale else None,
        purchase_time_s=at.purchase_s,
        start_s=at.purchase_s,
        expiry_s=at.expiry_s,
        entry_spot=entry,
        entry_s=at.entry_s if entered else None,
        exit_spot=market.quote(terms.symbol, over.exit_s) if over else None,
        exit_s=over.exit_s if over else None,
        current_spot=current.quote,
        current_spot_s=current.epoch_s,
        barrier=behaviour.barrier(contract, entry),
        tick_count=terms.duration if terms.in_ticks else None,
        tick_stream=tuple(
            (epoch_s, market.quote(terms.symbol, epoch_s)) for epoch_s in at.tick_epochs if epoch_s <= now_s
        ),
        buy_transaction_id=contract.buy_transaction_id,
        sell_transaction_id=sale.transaction_id if sale else None,
        limits=dict(contract.limits),
        shortcode=contract.shortcode,
        longcode=contract.longcode,
        decimals=symbol.decimals,
    )
