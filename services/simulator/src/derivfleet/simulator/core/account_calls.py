"""Answers about the account: its cash, its contracts, its past, and its login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.answers import Authorized, Balance
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.vocabulary import Call, StreamType
from derivfleet.simulator.core import histories
from derivfleet.simulator.core.broadcasts import contract_frame
from derivfleet.simulator.core.effects import Close
from derivfleet.simulator.core.faults import FaultKind

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.request_context import RequestContext

__all__ = [
    "ACCOUNT_STREAMS",
    "authorize",
    "balance",
    "logout",
    "portfolio",
    "profit_table",
    "proposal_open_contract",
    "statement",
    "transaction",
]

POLICY_CODE = 1008
ACCOUNT_STREAMS = (StreamType.BALANCE, StreamType.PROPOSAL_OPEN_CONTRACT, StreamType.TRANSACTION)


def authorize(context: RequestContext, request: requests.Authorize) -> list[Frame]:
    """Log a legacy socket in."""
    exchange, connection = context.exchange, context.connection
    if exchange.faults.on_login() or not exchange.logins.knows_token(request.authorize):
        raise RequestRefused("InvalidToken", "The token is invalid.")
    account = exchange.legacy_account
    if connection.account is None and not exchange.has_room(account.loginid):
        context.pushes.append(Close(connection.number, POLICY_CODE, "too many connections"))
        return []
    connection.account = account.loginid
    scopes = exchange.settings.scopes
    return [
        context.codec.encode_authorize(
            Authorized(account.loginid, account.currency, account.balance, account.is_demo, scopes)
        )
    ]


def logout(context: RequestContext, _request: requests.Logout) -> list[Frame]:
    """End the login and its streams; the socket stays."""
    context.connection.streams.forget_all(ACCOUNT_STREAMS)
    context.connection.account = None
    return [context.codec.encode_plain(Call.LOGOUT, 1)]


def balance(context: RequestContext, request: requests.Balance) -> list[Frame]:
    """The cash now; with a subscription, after every change."""
    account = context.account
    stream_id = None
    if request.subscribe:
        stream_id = context.connection.streams.open(Call.BALANCE, ("balance",), StreamType.BALANCE, context.echo).id
    return [context.codec.encode_balance(Balance(account.balance, account.currency, account.loginid, stream_id))]


def transaction(context: RequestContext, _request: requests.Transaction) -> list[Frame]:
    """The stream of movements. Its first message carries only its id."""
    key = ("transaction",)
    context.require_login()
    stream = context.connection.streams.open(Call.TRANSACTION, key, StreamType.TRANSACTION, context.echo)
    return [context.codec.encode_transaction(None, stream.id)]


def statement(context: RequestContext, request: requests.Statement) -> list[Frame]:
    """Movements, newest first."""
    visible_until_s = context.now_s - _lag_s(context)
    return [context.codec.encode_statement(histories.statement(context.account, request, visible_until_s))]


def _lag_s(context: RequestContext) -> int:
    return max(context.exchange.settings.statement_lag_s, round(context.fault_s(FaultKind.LAG)))


def portfolio(context: RequestContext, request: requests.Portfolio) -> list[Frame]:
    """Open contracts."""
    return [context.codec.encode_portfolio(histories.portfolio(context.account, request))]


def profit_table(context: RequestContext, request: requests.ProfitTable) -> list[Frame]:
    """Closed contracts."""
    visible_until_s = context.now_s - _lag_s(context)
    return [context.codec.encode_profit_table(histories.profit_table(context.account, request, visible_until_s))]


def proposal_open_contract(context: RequestContext, request: requests.ProposalOpenContract) -> list[Frame]:
    """One contract, or all that are open. A stream of a contract ends with the message that says it is sold."""
    account, streams = context.account, context.connection.streams
    if request.contract_id is not None:
        contract = account.contracts.get(request.contract_id)
        if contract is None:
            raise RequestRefused("ContractNotFound", "Contract not found for this account.")
        contracts = [contract]
    else:
        contracts = list(account.open.values())
    if not request.subscribe:
        states = [context.exchange.state(contract, context.now_s) for contract in contracts] or [None]
        return [context.codec.encode_contract(state) for state in states]
    parent_id = None
    if request.contract_id is None:
        key, kind = ("contracts",), StreamType.PROPOSAL_OPEN_CONTRACT
        parent_id = streams.open(Call.PROPOSAL_OPEN_CONTRACT, key, kind, context.echo).id
        contracts = [contract for contract in contracts if not streams.get(("contract", contract.contract_id))]
    if not contracts:
        return [context.codec.encode_contract(None, parent_id)]
    frames: list[Frame] = []
    for contract in contracts:
        key, kind = ("contract", contract.contract_id), StreamType.PROPOSAL_OPEN_CONTRACT
        stream = streams.open(Call.PROPOSAL_OPEN_CONTRACT, key, kind, context.echo)
        frames.append(contract_frame(context.exchange, context.connection, stream, contract, context.now_s))
    return frames
