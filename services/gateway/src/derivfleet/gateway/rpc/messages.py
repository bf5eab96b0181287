"""Between the gateway's values and the messages of the contract."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.status import Problem, ProblemError
from derivfleet.deriv.categories.registry import contract_types, find
from derivfleet.deriv.contracts import check_terms
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.gateway.core.orders.contract import contract_terms
from derivfleet.gateway.core.orders.exit import Exit, ExitKind, ExitState, ExitTerms
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.v1 import control_pb2, market_pb2, orders_pb2, trading_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.deriv.answers import ContractState
    from derivfleet.deriv.candles import Candle
    from derivfleet.deriv.ticks import Tick
    from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
    from derivfleet.gateway.journal.records import JournalEvent

__all__ = [
    "amount_of",
    "check_id",
    "check_order_id",
    "check_replica",
    "check_symbol",
    "contract_message",
    "event_message",
    "exit_message",
    "foreign_messages",
    "history_message",
    "invalid",
    "order_message",
    "state_message",
    "state_of",
    "terms_of",
    "tick_message",
    "tick_news",
]

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_STATES = {state: orders_pb2.OrderState.Value(f"ORDER_STATE_{state.name}") for state in State}
_EXIT_STATES = {state: orders_pb2.OrderExitState.Value(f"ORDER_EXIT_STATE_{state.name}") for state in ExitState}
_SYMBOL = re.compile(r"\w{2,30}", re.ASCII)
_BARRIER = re.compile(r"(?=.{1,20}\Z)[+-]?[0-9]+\.?[0-9]*", re.ASCII)
LONGEST_DURATION = 99_999_999
LONGEST_AMOUNT = 32
LARGEST_AMOUNT = 10**9
"""Far above every stake that Deriv takes; a short text such as 1e999999 is a very long number."""
_UNITS = frozenset({"t", "s", "m", "h"})


def invalid(field: str, message: str) -> ProblemError:
    """The caller's request is wrong in one field."""
    return ProblemError(Problem(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", f"{field}: {message}", field=field))


def check_id(field: str, text: str) -> str:
    """The id, if it is one. Raises ProblemError."""
    if not _ID.fullmatch(text):
        raise invalid(field, "must be 1 to 64 of A-Z a-z 0-9 . _ : -")
    return text


def check_order_id(order_id: str) -> str:
    """The id, if it is one. Raises ProblemError."""
    return check_id("order_id", order_id)


def check_symbol(field: str, symbol: str) -> str:
    """The symbol, if it has the form of one. Raises ProblemError."""
    if not _SYMBOL.fullmatch(symbol):
        raise invalid(field, "must be a symbol of Deriv, as R_100")
    return symbol


def check_replica(replica: str) -> str:
    """The name of a replica, if it is one. Raises ProblemError."""
    return check_id("replica", replica)


def amount_of(field: str, text: str) -> Decimal:
    """A decimal string as an amount of money. Raises ProblemError."""
    if len(text) > LONGEST_AMOUNT:
        raise invalid(field, f"must have at most {LONGEST_AMOUNT} characters")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise invalid(field, f"must be a decimal string, not {text[:20]!r}") from None
    if not amount.is_finite() or abs(amount) > LARGEST_AMOUNT or amount.normalize().as_tuple().exponent < -2:  # type: ignore[operator]  # noqa: PLR2004
        raise invalid(field, "must be at most 10^9 and have at most two decimals")
    return amount


def terms_of(message: orders_pb2.ContractTerms) -> OrderTerms:
    """What is to be bought, checked as far as that is possible without asking Deriv. Raises ProblemError."""
    category = find(message.contract_type)
    if category is None:
        known = ", ".join(contract_types())
        raise invalid("terms.contract_type", f"unknown type {message.contract_type[:20]!r}; known are {known}")
    if category.has_duration and message.duration_unit not in _UNITS:
        raise invalid("terms.duration_unit", "must be t, s, m or h")
    check_symbol("terms.symbol", message.symbol)
    if category.has_duration and not 1 <= message.duration <= LONGEST_DURATION:
        raise invalid("terms.duration", f"must be 1 to {LONGEST_DURATION}")
    if not category.has_duration and (message.duration or message.duration_unit):
        raise invalid("terms.duration", f"must be empty: {message.contract_type} has none")
    if message.barrier and not _BARRIER.fullmatch(message.barrier):
        raise invalid("terms.barrier", "must be empty or a number with at most 20 characters")
    stake = amount_of("terms.stake", message.stake)
    if stake <= 0:
        raise invalid("terms.stake", "must be above 0")
    terms = OrderTerms(
        contract_type=message.contract_type,
        symbol=message.symbol,
        stake=stake,
        duration=message.duration,
        duration_unit=message.duration_unit,
        barrier=message.barrier,
    )
    if message.symbol in SYMBOLS:
        # Deriv offers more symbols than are known here, and is the judge of those.
        try:
            check_terms(contract_terms(terms))
        except RequestRefused as error:
            raise invalid(f"terms.{error.details.get('field', 'contract_type')}", error.message) from None
    return terms


def sale_of(request: trading_pb2.SellRequest) -> ExitTerms:
    """What a sale is to be. Raises ProblemError."""
    min_price = amount_of("min_price", request.min_price or "0")
    if min_price < 0:
        raise invalid("min_price", "must not be negative")
    return ExitTerms(ExitKind.SELL, min_price)


def update_of(request: trading_pb2.UpdateContractRequest) -> ExitTerms:
    """Which limit orders are to be changed. Raises ProblemError."""
    wanted = {name: getattr(request, name) for name in ("take_profit", "stop_loss") if request.HasField(name)}
    if not wanted:
        raise invalid("take_profit", "name it, or stop_loss, or both")
    limits = {name: amount_of(name, text) if text else None for name, text in wanted.items()}
    for name, amount in limits.items():
        if amount is not None and amount <= 0:
            raise invalid(name, "must be above 0, or empty to remove it")
    return ExitTerms(ExitKind.UPDATE, limits=tuple(limits.items()))


def _money(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:f}"


def state_message(state: State) -> orders_pb2.OrderState.ValueType:
    return _STATES[state]


def state_of(message: orders_pb2.OrderState.ValueType) -> State | None:
    """The state that a message names; None for unspecified. Raises ProblemError for a number that is none."""
    if message == orders_pb2.ORDER_STATE_UNSPECIFIED:
        return None
    for state, value in _STATES.items():
        if value == message:
            return state
    raise invalid("state", f"{message} is no state of an order")


def order_message(order: Order) -> orders_pb2.Order:
    terms = order.terms
    return orders_pb2.Order(
        account=order.account,
        order_id=order.order_id,
        bot=order.bot,
        terms=orders_pb2.ContractTerms(
            contract_type=terms.contract_type,
            symbol=terms.symbol,
            stake=_money(terms.stake),
            duration=terms.duration,
            duration_unit=terms.duration_unit,
            barrier=terms.barrier,
        ),
        state=state_message(order.state),
        contract_id=order.contract_id,
        buy_transaction_id=order.buy_transaction_id,
        buy_price=_money(order.buy_price),
        payout=_money(order.payout),
        sell_price=_money(order.sell_price),
        profit=_money(order.profit),
        purchase_epoch_s=order.purchase_epoch_s,
        sell_epoch_s=order.sell_epoch_s,
        error_code=order.error_code,
        error_message=order.error_message,
        reconciled=order.reconciled,
        intended_time_ns=order.intended_time_ns,
        sent_time_ns=order.sent_time_ns,
        answered_time_ns=order.answered_time_ns,
        settled_time_ns=order.settled_time_ns,
        trace_id=order.trace_id,
        attribution=order.attribution,
        doubt=order.doubt,
        candidates=[
            orders_pb2.OrderCandidate(
                contract_id=one.contract_id,
                purchase_epoch_s=one.purchase_epoch_s,
                buy_price=_money(one.buy_price),
                payout=_money(one.payout),
            )
            for one in order.candidates
        ],
        found_late=order.found_late,
        resolved_by=order.resolved_by,
        ending=order.ending,
        sell_transaction_id=order.sell_transaction_id,
        exits=[exit_message(one) for one in order.exits],
    )


def exit_message(one: Exit) -> orders_pb2.OrderExit:
    limits = {name: _money(amount) for name, amount in one.terms.limits}
    return orders_pb2.OrderExit(
        exit_id=one.exit_id,
        kind=one.terms.kind,
        state=_EXIT_STATES[one.state],
        min_price=_money(one.terms.min_price) if one.terms.kind is ExitKind.SELL else "",
        take_profit=limits.get("take_profit"),
        stop_loss=limits.get("stop_loss"),
        amount=_money(one.amount),
        transaction_id=one.transaction_id,
        error_code=one.error_code,
        error_message=one.error_message,
        intended_time_ns=one.intended_time_ns,
        sent_time_ns=one.sent_time_ns,
        answered_time_ns=one.answered_time_ns,
    )


def foreign_messages(trades: Iterable[ForeignTrade]) -> list[control_pb2.ForeignTrade]:
    return [
        control_pb2.ForeignTrade(
            contract_id=trade.contract_id,
            symbol=trade.symbol,
            buy_price=_money(trade.price),
            epoch_s=trade.epoch_s,
        )
        for trade in trades
    ]


def event_message(event: JournalEvent) -> orders_pb2.OrderEvent:
    return orders_pb2.OrderEvent(position=event.position, time_ns=event.time_ns, order=order_message(event.order))


def contract_message(account: str, contract: ContractState) -> orders_pb2.Contract:
    return orders_pb2.Contract(
        account=account,
        contract_id=contract.contract_id,
        status=contract.status or "",
        is_sold=contract.is_sold,
        is_valid_to_sell=contract.is_valid_to_sell,
        buy_price=_money(contract.buy_price),
        bid_price=_money(contract.bid_price),
        sell_price=_money(contract.sell_price),
        payout=_money(contract.payout),
        profit=_money(contract.profit),
        entry_spot=_money(contract.entry_spot),
        exit_spot=_money(contract.exit_spot),
        current_spot=_money(contract.current_spot),
        current_spot_epoch_s=contract.current_spot_s or 0,
        sell_epoch_s=contract.sell_time_s or 0,
    )


def tick_message(tick: Tick) -> market_pb2.Tick:
    return market_pb2.Tick(
        symbol=tick.symbol,
        epoch_s=tick.epoch_s,
        quote=f"{tick.quote:.{tick.decimals}f}",
        pip_decimals=tick.decimals,
    )


def history_message(
    symbol: str,
    granularity_s: int,
    prices: Iterable[tuple[int, Decimal]],
    candles: Iterable[Candle],
    decimals: int,
) -> trading_pb2.HistoryResponse:
    """Ticks, as (epoch, quote) with the symbol's decimals, or candles; oldest first."""
    return trading_pb2.HistoryResponse(
        ticks=[
            market_pb2.Tick(symbol=symbol, epoch_s=epoch_s, quote=f"{quote:.{decimals}f}", pip_decimals=decimals)
            for epoch_s, quote in prices
        ],
        candles=[
            market_pb2.Candle(
                symbol=symbol,
                open_epoch_s=candle.epoch_s,
                granularity_s=granularity_s,
                open=f"{candle.open:f}",
                high=f"{candle.high:f}",
                low=f"{candle.low:f}",
                close=f"{candle.close:f}",
            )
            for candle in candles
        ],
    )


@lru_cache(maxsize=100)
def tick_news(tick: Tick) -> trading_pb2.StreamTicksResponse:
    """A tick as its stream tells it; one message for all who watch, and not to be changed."""
    return trading_pb2.StreamTicksResponse(tick=tick_message(tick))
