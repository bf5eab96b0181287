"""Answers about the account, written for the wire.

Each function gives a frame without ``echo_req`` and ``req_id``; money stays Decimal until the frame becomes text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

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
    from derivfleet.deriv.dialects.naming import Naming
    from derivfleet.deriv.dialects.numbers import Frame

__all__ = [
    "encode_authorize",
    "encode_balance",
    "encode_buy",
    "encode_contract",
    "encode_portfolio",
    "encode_profit_table",
    "encode_sell",
    "encode_statement",
    "encode_transaction",
    "framed",
]


def framed(msg_type: str, content: object, stream_id: str | None = None) -> Frame:
    """A frame with its type, its content under the key of the same name, and the stream that it belongs to."""
    frame: Frame = {"msg_type": msg_type, msg_type: content}
    if stream_id is not None:
        frame["subscription"] = {"id": stream_id}
    return frame


def present(**fields: Any) -> Frame:
    """The fields that are known."""
    return {name: value for name, value in fields.items() if value is not None}


def encode_authorize(login: Authorized) -> Frame:
    """The login (legacy)."""
    account = {
        "loginid": login.loginid,
        "currency": login.currency,
        "is_virtual": int(login.is_virtual),
        "is_disabled": 0,
        "landing_company_name": "virtual" if login.is_virtual else "svg",
        "account_category": "trading",
    }
    content = {
        "loginid": login.loginid,
        "currency": login.currency,
        "balance": login.balance,
        "is_virtual": int(login.is_virtual),
        "scopes": sorted(login.scopes),
        "landing_company_name": account["landing_company_name"],
        "account_list": [account],
    }
    return framed(Call.AUTHORIZE, content)


def encode_balance(balance: Balance) -> Frame:
    """The account's cash."""
    content = present(balance=balance.balance, currency=balance.currency, loginid=balance.loginid, id=balance.stream_id)
    return framed(Call.BALANCE, content, balance.stream_id)


def encode_buy(receipt: BuyReceipt) -> Frame:
    """A purchase's receipt."""
    content = {
        "contract_id": receipt.contract_id,
        "transaction_id": receipt.transaction_id,
        "buy_price": receipt.buy_price,
        "payout": receipt.payout,
        "purchase_time": receipt.purchase_time_s,
        "start_time": receipt.start_time_s,
        "balance_after": receipt.balance_after,
        "longcode": receipt.longcode,
        "shortcode": receipt.shortcode,
    }
    return framed(Call.BUY, content, receipt.stream_id)


def encode_sell(receipt: SellReceipt) -> Frame:
    """A sale's receipt."""
    return _ended(Call.SELL, receipt)


def encode_cancel(receipt: SellReceipt) -> Frame:
    """A cancellation's receipt; it has the shape of a sale's."""
    return _ended(Call.CANCEL, receipt)


def _ended(call: Call, receipt: SellReceipt) -> Frame:
    content = present(
        contract_id=receipt.contract_id,
        transaction_id=receipt.transaction_id,
        reference_id=receipt.reference_id,
        sold_for=receipt.sold_for,
        balance_after=receipt.balance_after,
    )
    return framed(call, content)


def encode_contract_update(limits: Mapping[str, Decimal]) -> Frame:
    """The limit orders of a contract after a change."""
    return framed(Call.CONTRACT_UPDATE, _limit_orders(limits))


def _limit_orders(limits: Mapping[str, Decimal]) -> Frame:
    return {name: {"order_amount": amount} for name, amount in limits.items()}


def _legacy_displays(state: ContractState) -> Frame:
    return present(
        entry_tick_display_value=_text(state.entry_spot),
        exit_tick_display_value=_text(state.exit_spot),
        current_spot_display_value=_text(state.current_spot),
        display_name=state.display_name,
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _same(number: Decimal | None) -> Decimal | None:
    return number


def encode_contract(naming: Naming, state: ContractState | None, stream_id: str | None = None) -> Frame:
    """One contract's state; an empty object for None, which says "nothing is open".

    The current dialect has its prices as strings here, and only here.
    """
    if state is None:
        return framed(Call.PROPOSAL_OPEN_CONTRACT, {}, stream_id)
    stream_id = state.stream_id
    money = _text if naming.money_as_text else _same
    fields = present(
        contract_id=state.contract_id,
        contract_type=state.contract_type,
        currency=state.currency,
        status=state.status,
        is_sold=int(state.is_sold),
        is_expired=int(state.is_expired),
        is_settleable=int(state.is_settleable),
        is_valid_to_sell=int(state.is_valid_to_sell),
        is_valid_to_cancel=int(state.is_valid_to_cancel),
        is_intraday=1,
        is_path_dependent=0,
        buy_price=money(state.buy_price),
        bid_price=money(state.bid_price),
        payout=money(state.payout),
        profit=money(state.profit),
        profit_percentage=state.profit_percentage,
        sell_price=money(state.sell_price),
        sell_time=state.sell_time_s,
        purchase_time=state.purchase_time_s,
        date_start=state.start_s,
        date_expiry=state.expiry_s,
        expiry_time=state.expiry_s,
        current_spot=money(state.current_spot),
        current_spot_time=state.current_spot_s,
        barrier=state.barrier,
        tick_count=state.tick_count,
        shortcode=state.shortcode,
        longcode=state.longcode,
        id=stream_id,
        limit_order=_limit_orders(state.limits) if state.limits else None,
    )
    fields[naming.contract_symbol] = state.symbol
    fields["transaction_ids"] = present(buy=state.buy_transaction_id, sell=state.sell_transaction_id)
    spots: Frame = {
        naming.entry_spot: money(state.entry_spot),
        naming.entry_time: state.entry_s,
        naming.exit_spot: money(state.exit_spot),
        naming.exit_time: state.exit_s,
    }
    fields |= {name: value for name, value in spots.items() if value is not None}
    if state.tick_count is not None:
        fields["tick_stream"] = [
            {"epoch": epoch_s, "tick": quote, "tick_display_value": _text(quote)}
            for epoch_s, quote in state.tick_stream
        ]
    if not naming.money_as_text:
        fields |= _legacy_displays(state)
    return framed(Call.PROPOSAL_OPEN_CONTRACT, fields, stream_id)


def encode_transaction(naming: Naming, movement: Transaction | None, stream_id: str) -> Frame:
    """One movement; for None the stream's first message, which carries only its id."""
    if movement is None:
        return framed(Call.TRANSACTION, {"id": stream_id}, stream_id)
    content = present(
        action=movement.action,
        transaction_id=movement.transaction_id,
        contract_id=movement.contract_id,
        amount=movement.amount,
        balance=movement.balance,
        currency=movement.currency,
        transaction_time=movement.transaction_time_s,
        longcode=movement.longcode,
        purchase_time=movement.purchase_time_s,
        date_expiry=movement.expiry_s,
        id=stream_id,
    )
    content |= present(**{naming.row_symbol: movement.symbol})
    if naming.has_app_id:
        content |= present(barrier=movement.barrier, display_name=movement.display_name)
    return framed(Call.TRANSACTION, content, stream_id)


def encode_statement(naming: Naming, rows: Iterable[StatementRow]) -> Frame:
    """Cash movements. ``count`` is the number of rows sent."""
    transactions = [
        present(
            action_type=row.action_type,
            transaction_id=row.transaction_id,
            contract_id=row.contract_id,
            amount=row.amount,
            balance_after=row.balance_after,
            transaction_time=row.transaction_time_s,
            payout=row.payout,
            purchase_time=row.purchase_time_s,
            reference_id=row.reference_id,
            shortcode=row.shortcode,
            longcode=row.longcode,
            app_id=row.app_id if naming.has_app_id else None,
        )
        for row in rows
    ]
    return framed(Call.STATEMENT, {"count": len(transactions), "transactions": transactions})


def encode_portfolio(naming: Naming, rows: Iterable[PortfolioRow]) -> Frame:
    """Open contracts."""
    contracts = [
        present(
            contract_id=row.contract_id,
            transaction_id=row.transaction_id,
            buy_price=row.buy_price,
            payout=row.payout,
            purchase_time=row.purchase_time_s,
            contract_type=row.contract_type,
            currency=row.currency,
            date_start=row.start_s,
            expiry_time=row.expiry_s,
            shortcode=row.shortcode,
            longcode=row.longcode,
            app_id=row.app_id if naming.has_app_id else None,
            **{naming.row_symbol: row.symbol},
        )
        for row in rows
    ]
    return framed(Call.PORTFOLIO, {"contracts": contracts})


def encode_profit_table(naming: Naming, rows: Iterable[ProfitRow]) -> Frame:
    """Closed contracts. Both dialects call the symbol ``underlying_symbol`` here."""
    transactions = [
        present(
            contract_id=row.contract_id,
            transaction_id=row.transaction_id,
            buy_price=row.buy_price,
            sell_price=row.sell_price,
            purchase_time=row.purchase_time_s,
            sell_time=row.sell_time_s,
            payout=row.payout,
            shortcode=row.shortcode,
            longcode=row.longcode,
            contract_type=row.contract_type,
            underlying_symbol=row.symbol,
            app_id=row.app_id if naming.has_app_id else None,
        )
        for row in rows
    ]
    return framed(Call.PROFIT_TABLE, {"count": len(transactions), "transactions": transactions})
