"""Answers to what moves money: prices, purchases, sales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.answers import BuyReceipt, SellReceipt
from derivfleet.deriv.categories.registry import category_of
from derivfleet.deriv.contracts import terms_of
from derivfleet.deriv.errors import InputValidationFailed, RequestRefused
from derivfleet.deriv.vocabulary import Call, StreamType
from derivfleet.simulator.core import broadcasts
from derivfleet.simulator.core.behaviours.registry import behaviour_of
from derivfleet.simulator.core.connection import Proposal
from derivfleet.simulator.core.faults import FaultKind
from derivfleet.simulator.core.request_context import NS_PER_S
from derivfleet.simulator.core.streams import derived_uuid

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.pricing import Price
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.account_ledger import Movement
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.request_context import RequestContext

__all__ = ["buy", "cancel", "contract_update", "proposal", "sell"]

_PROPOSALS_KEPT = 200


def proposal(context: RequestContext, request: requests.Proposal) -> list[Frame]:
    """A price and an id to buy it by.

    Prices that cannot move are not streamed: a subscription to one is answered once and opens nothing.
    """
    exchange, connection = context.exchange, context.connection
    terms = terms_of(request)
    found = category_of(terms.contract_type).price(terms, exchange.settings.prices)
    connection.proposals_made += 1
    proposal_id = derived_uuid(exchange.seed, "proposal", connection.number, connection.proposals_made)
    stream_id = None
    if request.subscribe and behaviour_of(terms).price_moves(terms):
        about = request.model_dump_json(exclude={"subscribe"}, exclude_none=True)
        stream_id = connection.streams.open(
            Call.PROPOSAL, ("proposal", about), StreamType.PROPOSAL, context.echo, proposal_id
        ).id
    valid_ns = round(exchange.settings.proposal_valid_s * NS_PER_S)
    made = Proposal(terms, found, context.now_ns + valid_ns)
    _forget_expired(connection.proposals, context.now_ns)
    connection.proposals[proposal_id] = made
    return [context.codec.encode_proposal(exchange.quote(made, proposal_id, context.now_s, stream_id))]


def _forget_expired(proposals: dict[str, Proposal], now_ns: int) -> None:
    if len(proposals) < _PROPOSALS_KEPT:
        return
    for proposal_id in [name for name, made in proposals.items() if made.valid_until_ns <= now_ns]:
        del proposals[proposal_id]


def buy(context: RequestContext, request: requests.Buy) -> list[Frame]:
    """Buy by a proposal's id or by parameters; with a subscription, the contract's states follow."""
    account, connection, exchange = context.trader, context.connection, context.exchange
    terms, quoted = _wanted(context, request)
    if request.subscribe:
        # Before the purchase: afterwards a refusal would hide it.
        connection.streams.ensure_room(Call.BUY, StreamType.PROPOSAL_OPEN_CONTRACT)
    stuck_s = round(context.fault_s(FaultKind.STUCK))
    contract, moved = exchange.ledger.buy(
        account.loginid, terms, request.price, connection.app_id, context.now_s, quoted, stuck_s
    )
    stream = None
    if request.subscribe:
        key = ("contract", contract.contract_id)
        stream = connection.streams.open(Call.BUY, key, StreamType.PROPOSAL_OPEN_CONTRACT, context.echo)
    context.pushes.extend(broadcasts.movement(exchange, account, moved))
    context.pushes.extend(broadcasts.bought(exchange, contract, context.now_s))
    receipt = BuyReceipt(
        contract_id=contract.contract_id,
        transaction_id=contract.buy_transaction_id,
        buy_price=contract.buy_price,
        payout=contract.payout,
        purchase_time_s=contract.timeline.purchase_s,
        start_time_s=contract.timeline.purchase_s,
        balance_after=moved.balance_after,
        shortcode=contract.shortcode,
        longcode=contract.longcode,
        stream_id=stream.id if stream else None,
    )
    return [context.codec.encode_buy(receipt)]


def _wanted(context: RequestContext, request: requests.Buy) -> tuple[Terms, Price | None]:
    """The terms to buy, and their price if it was quoted. A proposal's id is dead after this, whatever follows."""
    if request.buy == "1":
        if request.parameters is None:
            raise InputValidationFailed(Call.BUY, {"parameters": "Missing property."})
        return terms_of(request.parameters), None
    made = context.connection.proposals.pop(request.buy, None)
    context.connection.streams.forget(request.buy)
    if made is None or made.valid_until_ns <= context.now_ns:
        raise RequestRefused("InvalidContractProposal", "Unknown contract proposal")
    return made.terms, made.price


def sell(context: RequestContext, request: requests.Sell) -> list[Frame]:
    """Sell a contract back."""
    ledger = context.exchange.ledger
    contract, moved = ledger.sell(
        context.trader.loginid, request.sell, request.price, context.connection.app_id, context.now_s
    )
    return [context.codec.encode_sell(_closed(context, contract, moved))]


def cancel(context: RequestContext, request: requests.Cancel) -> list[Frame]:
    """Undo the purchase of a contract."""
    ledger = context.exchange.ledger
    contract, moved = ledger.cancel(context.trader.loginid, request.cancel, context.connection.app_id, context.now_s)
    return [context.codec.encode_cancel(_closed(context, contract, moved))]


def _closed(context: RequestContext, contract: Contract, moved: Movement) -> SellReceipt:
    """The receipt of an end that the client wanted, after everybody else was told of it."""
    context.pushes.extend(broadcasts.movement(context.exchange, context.account, moved))
    context.pushes.extend(broadcasts.ended(context.exchange, contract, context.now_s))
    return SellReceipt(
        contract_id=contract.contract_id,
        transaction_id=moved.transaction_id,
        reference_id=contract.buy_transaction_id,
        sold_for=moved.amount,
        balance_after=moved.balance_after,
    )


def contract_update(context: RequestContext, request: requests.ContractUpdate) -> list[Frame]:
    """Set or remove limit orders of a contract."""
    change = {name: getattr(request.limit_order, name) for name in request.limit_order.model_fields_set}
    contract = context.exchange.ledger.update(context.trader.loginid, request.contract_id, change, context.now_s)
    return [context.codec.encode_contract_update(contract.limits)]
