"""Answers about the account, read from the wire. Both dialects' names are accepted, numbers as number or string."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import (
    Authorized,
    Balance,
    BuyReceipt,
    ContractState,
    PortfolioRow,
    ProfitRow,
    SellReceipt,
    StatementRow,
    Transaction,
)
from derivfleet.deriv.dialects.fields import SYMBOL_NAMES, Fields, payload, stream_id_of

if TYPE_CHECKING:
    from derivfleet.deriv.dialects.numbers import Frame

__all__ = [
    "decode_authorize",
    "decode_balance",
    "decode_buy",
    "decode_cancel",
    "decode_contract",
    "decode_portfolio",
    "decode_profit_table",
    "decode_sell",
    "decode_statement",
    "decode_transaction",
]


def decode_authorize(frame: Frame) -> Authorized:
    """The login."""
    login = payload(frame, "authorize")
    return Authorized(
        loginid=login.text("loginid"),
        currency=login.text_or_none("currency") or "",
        balance=login.number_or_none("balance") or Decimal(0),
        is_virtual=login.flag("is_virtual"),
        scopes=frozenset(str(scope) for scope in login.items("scopes")),
    )


def decode_balance(frame: Frame) -> Balance:
    """The account's cash."""
    balance = payload(frame, "balance")
    return Balance(balance.number("balance"), balance.text("currency"), balance.text("loginid"), stream_id_of(frame))


def decode_buy(frame: Frame) -> BuyReceipt:
    """A purchase's receipt. Without a contract id there is no proof, so that is malformed."""
    receipt = payload(frame, "buy")
    purchase_time_s = receipt.integer("purchase_time")
    return BuyReceipt(
        contract_id=receipt.integer("contract_id"),
        transaction_id=receipt.integer("transaction_id"),
        buy_price=receipt.number("buy_price"),
        payout=receipt.number_or_none("payout") or Decimal(0),
        purchase_time_s=purchase_time_s,
        start_time_s=receipt.integer_or_none("start_time") or purchase_time_s,
        balance_after=receipt.number("balance_after"),
        shortcode=receipt.text_or_none("shortcode") or "",
        longcode=receipt.text_or_none("longcode") or "",
        stream_id=stream_id_of(frame),
    )


def decode_sell(frame: Frame) -> SellReceipt:
    """A sale's receipt."""
    return _sold(frame, "sell")


def decode_cancel(frame: Frame) -> SellReceipt:
    """A cancellation's receipt; it has the shape of a sale's."""
    return _sold(frame, "cancel")


def _sold(frame: Frame, call: str) -> SellReceipt:
    receipt = payload(frame, call)
    return SellReceipt(
        contract_id=receipt.integer("contract_id"),
        transaction_id=receipt.integer("transaction_id"),
        reference_id=receipt.integer_or_none("reference_id"),
        sold_for=receipt.number("sold_for"),
        balance_after=receipt.number("balance_after"),
    )


def decode_contract(frame: Frame) -> ContractState | None:
    """One contract's state; None for the empty object that says "nothing is open"."""
    state = payload(frame, "proposal_open_contract")
    if state.values.get("contract_id") is None:
        return None
    ids = state.child("transaction_ids")
    return ContractState(
        contract_id=state.integer("contract_id"),
        contract_type=state.text_or_none("contract_type") or "",
        symbol=state.text_or_none(state.first_of(*SYMBOL_NAMES)) or "",
        currency=state.text_or_none("currency") or "",
        is_sold=state.flag("is_sold"),
        buy_price=state.number("buy_price"),
        payout=state.number_or_none("payout") or Decimal(0),
        status=state.text_or_none("status"),
        is_expired=state.flag("is_expired"),
        is_settleable=state.flag("is_settleable"),
        is_valid_to_sell=state.flag("is_valid_to_sell"),
        is_valid_to_cancel=state.flag("is_valid_to_cancel"),
        bid_price=state.number_or_none("bid_price"),
        profit=state.number_or_none("profit"),
        profit_percentage=state.number_or_none("profit_percentage"),
        sell_price=state.number_or_none("sell_price"),
        sell_time_s=state.integer_or_none("sell_time"),
        purchase_time_s=state.integer_or_none("purchase_time"),
        start_s=state.integer_or_none("date_start"),
        expiry_s=state.integer_or_none("date_expiry"),
        entry_spot=state.number_or_none(state.first_of("entry_spot", "entry_tick")),
        entry_s=state.integer_or_none(state.first_of("entry_spot_time", "entry_tick_time")),
        exit_spot=state.number_or_none(state.first_of("exit_spot", "exit_tick")),
        exit_s=state.integer_or_none(state.first_of("exit_spot_time", "exit_tick_time")),
        current_spot=state.number_or_none("current_spot"),
        current_spot_s=state.integer_or_none("current_spot_time"),
        barrier=state.text_or_none("barrier"),
        tick_count=state.integer_or_none("tick_count"),
        tick_stream=tuple((tick.integer("epoch"), tick.number("tick")) for tick in state.rows("tick_stream")),
        buy_transaction_id=ids.integer_or_none("buy"),
        sell_transaction_id=ids.integer_or_none("sell"),
        limits=_limits(state.child("limit_order")),
        shortcode=state.text_or_none("shortcode"),
        longcode=state.text_or_none("longcode"),
        display_name=state.text_or_none("display_name"),
        stream_id=stream_id_of(frame),
    )


def _limits(orders: Fields) -> dict[str, Decimal]:
    """Limit orders by name. Whether a loss is shown as a negative amount is not documented."""
    amounts = {name: orders.child(name).number_or_none("order_amount") for name in ("take_profit", "stop_loss")}
    return {name: abs(amount) for name, amount in amounts.items() if amount is not None}


def decode_transaction(frame: Frame) -> Transaction | None:
    """One movement; None for the stream's first message, which carries only its id."""
    movement = payload(frame, "transaction")
    if movement.values.get("transaction_id") is None:
        return None
    return Transaction(
        action=movement.text("action"),
        transaction_id=movement.integer("transaction_id"),
        contract_id=movement.integer_or_none("contract_id"),
        amount=movement.number("amount"),
        balance=movement.number("balance"),
        transaction_time_s=movement.integer("transaction_time"),
        currency=movement.text_or_none("currency"),
        symbol=movement.text_or_none(movement.first_of(*SYMBOL_NAMES)),
        longcode=movement.text_or_none("longcode"),
        purchase_time_s=movement.integer_or_none("purchase_time"),
        expiry_s=movement.integer_or_none("date_expiry"),
        barrier=movement.text_or_none("barrier"),
        display_name=movement.text_or_none("display_name"),
        stream_id=stream_id_of(frame),
    )


def decode_statement(frame: Frame) -> tuple[StatementRow, ...]:
    """Cash movements, newest first."""
    return tuple(
        StatementRow(
            action_type=row.text("action_type"),
            transaction_id=row.integer("transaction_id"),
            contract_id=row.integer_or_none("contract_id"),
            amount=row.number("amount"),
            balance_after=row.number("balance_after"),
            transaction_time_s=row.integer("transaction_time"),
            payout=row.number_or_none("payout"),
            purchase_time_s=row.integer_or_none("purchase_time"),
            reference_id=row.integer_or_none("reference_id"),
            shortcode=row.text_or_none("shortcode"),
            longcode=row.text_or_none("longcode"),
            app_id=row.integer_or_none("app_id"),
        )
        for row in payload(frame, "statement").rows("transactions")
    )


def decode_portfolio(frame: Frame) -> tuple[PortfolioRow, ...]:
    """Open contracts."""
    return tuple(
        PortfolioRow(
            contract_id=row.integer("contract_id"),
            transaction_id=row.integer("transaction_id"),
            buy_price=row.number("buy_price"),
            payout=row.number_or_none("payout") or Decimal(0),
            purchase_time_s=row.integer("purchase_time"),
            contract_type=row.text_or_none("contract_type"),
            symbol=row.text_or_none(row.first_of(*SYMBOL_NAMES)),
            currency=row.text_or_none("currency"),
            start_s=row.integer_or_none("date_start"),
            expiry_s=row.integer_or_none("expiry_time"),
            shortcode=row.text_or_none("shortcode"),
            longcode=row.text_or_none("longcode"),
            app_id=row.integer_or_none("app_id"),
        )
        for row in payload(frame, "portfolio").rows("contracts")
    )


def decode_profit_table(frame: Frame) -> tuple[ProfitRow, ...]:
    """Closed contracts."""
    return tuple(
        ProfitRow(
            contract_id=row.integer("contract_id"),
            transaction_id=row.integer("transaction_id"),
            buy_price=row.number("buy_price"),
            sell_price=row.number("sell_price"),
            purchase_time_s=row.integer("purchase_time"),
            sell_time_s=row.integer_or_none("sell_time"),
            payout=row.number_or_none("payout"),
            app_id=row.integer_or_none("app_id"),
            shortcode=row.text_or_none("shortcode"),
            longcode=row.text_or_none("longcode"),
            contract_type=row.text_or_none("contract_type"),
            symbol=row.text_or_none(row.first_of(*SYMBOL_NAMES)),
        )
        for row in payload(frame, "profit_table").rows("transactions")
    )
