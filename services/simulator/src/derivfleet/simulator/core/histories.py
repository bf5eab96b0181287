"""What an account's lists show: statement, portfolio, profit table."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import PortfolioRow, ProfitRow, StatementRow, Transaction
from derivfleet.deriv.symbols import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.deriv import requests
    from derivfleet.simulator.core.account_ledger import Account, Movement
    from derivfleet.simulator.core.contracts import Contract

__all__ = ["portfolio", "profit_table", "statement", "transaction"]

_STATEMENT_LIMIT = 100
_PROFIT_LIMIT = 50
_DAY_S = 86_400
_FOREVER_S = 10**12


def _app_number(app_id: str | None) -> int | None:
    return int(app_id) if app_id is not None and app_id.isdecimal() else None


def statement(account: Account, request: requests.Statement, visible_until_s: int) -> list[StatementRow]:
    """Movements, newest first. Those after ``visible_until_s`` are not shown yet."""
    start_s = request.date_from or 0
    end_s = min(visible_until_s, _FOREVER_S if request.date_to is None else request.date_to)
    wanted = (
        movement
        for movement in reversed(account.movements)
        if start_s <= movement.time_s <= end_s and request.action_type in (None, movement.action)
    )
    offset = request.offset or 0
    limit = _STATEMENT_LIMIT if request.limit is None else request.limit
    describe = request.description == 1
    return [_statement_row(account, movement, describe=describe) for movement in islice(wanted, offset, offset + limit)]


def _statement_row(account: Account, movement: Movement, *, describe: bool) -> StatementRow:
    contract = account.contracts[movement.contract_id] if movement.contract_id is not None else None
    is_sale = contract is not None and movement.action == "sell"
    return StatementRow(
        action_type=movement.action,
        transaction_id=movement.transaction_id,
        contract_id=movement.contract_id,
        amount=movement.amount,
        balance_after=movement.balance_after,
        transaction_time_s=movement.time_s,
        payout=contract.payout if contract else None,
        purchase_time_s=contract.timeline.purchase_s if contract and is_sale else None,
        reference_id=contract.buy_transaction_id if contract and is_sale else None,
        shortcode=contract.shortcode if contract and describe else None,
        longcode=contract.longcode if contract and describe else None,
        app_id=_app_number(movement.app_id),
    )


def portfolio(account: Account, request: requests.Portfolio) -> list[PortfolioRow]:
    """Contracts that are open now, and no others."""
    return [
        PortfolioRow(
            contract_id=contract.contract_id,
            transaction_id=contract.buy_transaction_id,
            buy_price=contract.buy_price,
            payout=contract.payout,
            purchase_time_s=contract.timeline.purchase_s,
            contract_type=contract.terms.contract_type,
            symbol=contract.terms.symbol,
            currency=contract.currency,
            start_s=contract.timeline.purchase_s,
            expiry_s=contract.timeline.expiry_s,
            shortcode=contract.shortcode,
            longcode=contract.longcode,
            app_id=_app_number(contract.app_id),
        )
        for contract in account.open.values()
        if request.contract_type is None or contract.terms.contract_type in request.contract_type
    ]


def _second(text: str, *, end: bool) -> int:
    """An epoch in digits, or the first or last second of a day."""
    if text.isdecimal():
        return int(text)
    year, month, day = (int(part) for part in text.split("-"))
    try:
        start_s = int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError:
        # The 31st of a short month passes the schema's pattern; such a day has no trades.
        return _FOREVER_S
    return start_s + _DAY_S - 1 if end else start_s


def _closed(account: Account) -> Iterator[Contract]:
    for movement in account.movements:
        if movement.action == "sell" and movement.contract_id is not None:
            yield account.contracts[movement.contract_id]


def profit_table(account: Account, request: requests.ProfitTable, visible_until_s: int) -> list[ProfitRow]:
    """Closed contracts by the time of their end, newest first unless asked otherwise.

    That the dates filter by the end and not by the purchase is assumed.
    """
    start_s = _second(request.date_from, end=False) if request.date_from else 0
    end_s = min(visible_until_s, _second(request.date_to, end=True) if request.date_to else _FOREVER_S)
    rows = [
        _profit_row(contract, describe=request.description == 1)
        for contract in _closed(account)
        if contract.sale is not None
        and start_s <= contract.sale.time_s <= end_s
        and (request.contract_type is None or contract.terms.contract_type in request.contract_type)
    ]
    if request.sort != "ASC":
        rows.reverse()
    offset = request.offset or 0
    return rows[offset : offset + (_PROFIT_LIMIT if request.limit is None else request.limit)]


def _profit_row(contract: Contract, *, describe: bool) -> ProfitRow:
    sale = contract.sale
    if sale is None:
        raise ValueError(f"contract {contract.contract_id} is open")
    return ProfitRow(
        contract_id=contract.contract_id,
        transaction_id=contract.buy_transaction_id,
        buy_price=contract.buy_price,
        sell_price=sale.price,
        purchase_time_s=contract.timeline.purchase_s,
        sell_time_s=sale.time_s,
        payout=contract.payout,
        app_id=_app_number(contract.app_id),
        shortcode=contract.shortcode if describe else None,
        longcode=contract.longcode if describe else None,
        contract_type=contract.terms.contract_type if describe else None,
        symbol=contract.terms.symbol if describe else None,
    )


def transaction(account: Account, movement: Movement) -> Transaction:
    """A movement as the transaction stream pushes it."""
    contract = account.contracts[movement.contract_id] if movement.contract_id is not None else None
    is_sale = movement.action == "sell"
    return Transaction(
        action=movement.action,
        transaction_id=movement.transaction_id,
        contract_id=movement.contract_id,
        amount=movement.amount,
        balance=movement.balance_after,
        transaction_time_s=movement.time_s,
        currency=account.currency,
        symbol=contract.terms.symbol if contract else None,
        longcode=contract.longcode if contract else None,
        purchase_time_s=contract.timeline.purchase_s if contract and is_sale else None,
        expiry_s=contract.timeline.expiry_s if contract else None,
        barrier=(contract.terms.barrier or "S0P") if contract else None,
        display_name=SYMBOLS[contract.terms.symbol].display_name if contract else None,
    )
