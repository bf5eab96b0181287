"""Answers to what moves money: prices, purchases, sales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.answers import BuyReceipt, SellReceipt
from derivfleet.deriv.categories.registry import category_of
from derivfleet.deriv.contracts import terms_of
from derivfleet.deriv.errors import InputValidationFailed, RequestRefused
from derivfleet.deriv.vocabulary import Call, StreamType
from derivfleet.simulator.core import broadcasts
from derivfleet.simulator.core.connection import Proposal
from derivfleet.simulator.core.faults import FaultKind
from derivfleet.simulator.core.streams import derived_uuid
from derivfleet.simulator.core.turn import NS_PER_S

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.pricing import Price
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.turn import Turn

__all__ = ["buy", "cancel", "contract_update", "proposal", "sell"]

_PROPOSALS_KEPT = 200


def proposal(turn: Turn, request: requests.Proposal) -> list[Frame]:
    """A price and an id to buy it by.

    Prices that cannot move (digits, tick contracts, timed ones at the money on the two-second indices) are not
    streamed: a subscription to one is answered once and opens nothing.
    """
    exchange, connection = turn.exchange, turn.connection
    terms = terms_of(request)
    found = category_of(terms.contract_type).price(terms, exchange.settings.prices)
    connection.proposals_made += 1
    proposal_id = derived_uuid(exchange.seed, "proposal", connection.number, connection.proposals_made)
    stream_id = None
    if request.subscribe and _moves(terms):
        about = request.model_dump_json(exclude={"subscribe"}, exclude_none=True)
        stream_id = connection.streams.open(
            Call.PROPOSAL, ("proposal", about), StreamType.PROPOSAL, turn.echo, proposal_id
        ).id
    valid_ns = round(exchange.settings.proposal_valid_s * NS_PER_S)
    made = Proposal(terms, found, turn.now_ns + valid_ns)
    _forget_expired(connection.proposals, turn.now_ns)
    connection.proposals[proposal_id] = made
    return [turn.codec.encode_proposal(exchange.quote(made, proposal_id, turn.now_s, stream_id))]


def _moves(terms: Terms) -> bool:
    return not terms.in_ticks and not terms.symbol.startswith("R_")


def _forget_expired(proposals: dict[str, Proposal], now_ns: int) -> None:
    if len(proposals) < _PROPOSALS_KEPT:
        return
    for proposal_id in [name for name, made in proposals.items() if made.valid_until_ns <= now_ns]:
        del proposals[proposal_id]


def buy(turn: Turn, request: requests.Buy) -> list[Frame]:
    """Buy by a proposal's id or by parameters; with a subscription, the contract's states follow."""
    account, connection, exchange = turn.trader, turn.connection, turn.exchange
    terms, quoted = _wanted(turn, request)
    if request.subscribe:
        # Before the purchase: afterwards a refusal would hide it.
        connection.streams.ensure_room(Call.BUY, StreamType.PROPOSAL_OPEN_CONTRACT)
    stuck_s = round(turn.fault_s(FaultKind.STUCK))
    contract, moved = exchange.book.buy(
        account.loginid, terms, request.price, connection.app_id, turn.now_s, quoted, stuck_s
    )
    stream = None
    if request.subscribe:
        key = ("contract", contract.contract_id)
        stream = connection.streams.open(Call.BUY, key, StreamType.PROPOSAL_OPEN_CONTRACT, turn.echo)
    turn.pushes.extend(broadcasts.movement(exchange, account, moved))
    turn.pushes.extend(broadcasts.bought(exchange, contract, turn.now_s))
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
    return [turn.codec.encode_buy(receipt)]


def _wanted(turn: Turn, request: requests.Buy) -> tuple[Terms, Price | None]:
    """The terms to buy, and their price if it was quoted. A proposal's id is dead after this, whatever follows."""
    if request.buy == "1":
        if request.parameters is None:
            raise InputValidationFailed(Call.BUY, {"parameters": "Missing property."})
        return terms_of(request.parameters), None
    made = turn.connection.proposals.pop(request.buy, None)
    turn.connection.streams.forget(request.buy)
    if made is None or made.valid_until_ns <= turn.now_ns:
        raise RequestRefused("InvalidContractProposal", "Unknown contract proposal")
    return made.terms, made.price


def sell(turn: Turn, request: requests.Sell) -> list[Frame]:
    """Sell a contract back."""
    account, exchange = turn.trader, turn.exchange
    contract, moved = exchange.book.sell(
        account.loginid, request.sell, request.price, turn.connection.app_id, turn.now_s
    )
    turn.pushes.extend(broadcasts.movement(exchange, account, moved))
    turn.pushes.extend(broadcasts.ended(exchange, contract, turn.now_s))
    receipt = SellReceipt(
        contract_id=contract.contract_id,
        transaction_id=moved.transaction_id,
        reference_id=contract.buy_transaction_id,
        sold_for=moved.amount,
        balance_after=moved.balance_after,
    )
    return [turn.codec.encode_sell(receipt)]


def cancel(turn: Turn, request: requests.Cancel) -> list[Frame]:
    """No contract here can be cancelled."""
    _known(turn, request.cancel)
    raise RequestRefused("CannotCancelContract", "Deal cancellation is not available for this contract.")


def contract_update(turn: Turn, request: requests.ContractUpdate) -> list[Frame]:
    """No contract here has limit orders."""
    _known(turn, request.contract_id)
    raise RequestRefused("ContractUpdateNotAllowed", "Update is not allowed for this contract.")


def _known(turn: Turn, contract_id: int) -> None:
    if contract_id not in turn.trader.contracts:
        raise RequestRefused("ContractNotFound", "Contract not found for this account.")
