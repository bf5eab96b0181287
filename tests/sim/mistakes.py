"""Mistakes with purchases, each made of the gateway's own code: ``change(original)`` is what goes in its place."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.connection.connection import AnswerLostError, Connection
from derivfleet.deriv.errors import MalformedAnswer, Outcome
from derivfleet.gateway.core.orders.denials import OrderDoubtfulError
from derivfleet.gateway.core.orders.operations import Denied, Rejected, Sent
from derivfleet.gateway.core.orders.order import Attribution, Doubt, State
from derivfleet.gateway.core.orders.transitions import Confirmed, NotFound, Settled, advance
from derivfleet.gateway.core.reconcile.lost_orders import differing_term, fits
from derivfleet.gateway.reconciling.reconciler import UNREADABLE, Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.gateway.journal.journal import Journal
    from derivfleet.gateway.orders.purchases import Desk
    from derivfleet.gateway.orders.settlements import Settlements
    from derivfleet.gateway.upstream.client import AccountClient


TWICE = 2


def nothing(_original: Any) -> Any:
    def mutated(*_arguments: Any) -> None: ...

    return mutated


def nothing_awaited(_original: Any) -> Any:
    async def mutated(*_arguments: Any) -> None: ...

    return mutated


def always(value: Any) -> Callable[[Any], Any]:
    def change(_original: Any) -> Any:
        def mutated(*_arguments: Any, **_named: Any) -> Any:
            return value

        return mutated

    return change


def none_of_them(_original: Any) -> Any:
    def mutated(*_arguments: Any) -> list[Any]:
        return []

    return mutated


# Sending


def sent_in_memory(move: Any) -> Any:
    def mutated(self: Desk, order: Any, event: Any) -> Any:
        if not isinstance(event, Sent):
            return move(self, order, event)
        moved = self.open[order.order_id] = advance(order, event, self._clock.now_ns())
        return moved

    return mutated


def sent_again(of_call: str, code: str) -> Callable[[Any], Any]:
    def change(call: Any) -> Any:
        async def mutated(self: AccountClient, bot: str, request: Any, *rest: Any, **named: Any) -> Any:
            try:
                return await call(self, bot, request, *rest, **named)
            except AnswerLostError as error:
                if request.call != of_call or error.code != code:
                    raise
            return await call(self, bot, request, rest[0], *rest[1:3])

        return mutated

    return change


def bought_anew(buy: Any) -> Any:
    async def mutated(
        self: Desk, bot: str, order_id: str, terms: Any, deadline_ns: int, trace: Any, has_lease: Callable[[], bool]
    ) -> Any:
        order = self.unknown.get(order_id)
        if order is None or order_id in self._purchases:
            return await buy(self, bot, order_id, terms, deadline_ns, trace, has_lease)
        self.open[order_id] = order = replace(self.unknown.pop(order_id), state=State.INTENDED)
        order = await self._carried_through(order, deadline_ns, has_lease, self._admitted(bot, deadline_ns))
        return order, None

    return mutated


def once_allowed(buy: Any) -> Any:
    async def mutated(
        self: Desk, bot: str, order_id: str, terms: Any, deadline_ns: int, trace: Any, has_lease: Callable[[], bool]
    ) -> Any:
        asked: list[bool] = []

        def once() -> bool:
            asked.append(has_lease() if not asked else True)
            return asked[-1]

        return await buy(self, bot, order_id, terms, deadline_ns, trace, once)

    return mutated


# Answers


def always_telling(outcome_of: Any) -> Any:
    def mutated(*arguments: Any) -> Outcome:
        found = outcome_of(*arguments)
        return Outcome.NOT_EXECUTED if found is Outcome.UNKNOWN else found

    return mutated


def to_another(take: Any) -> Any:
    def mutated(self: Connection, text: str) -> None:
        frame: dict[str, Any] = json.loads(text) if text.startswith('{"msg_type":"buy"') else {}
        others = [
            req_id
            for req_id, entry in self._open.items()
            if entry.call == "buy" and entry.answer is None and req_id != frame.get("req_id")
        ]
        if frame.get("buy") and others:
            text = json.dumps({**frame, "req_id": others[0]})
        take(self, text)

    return mutated


def lost_is_denied(lose: Any) -> Any:
    def mutated(self: Desk, order: Any, code: str, message: str) -> Any:
        if code == "ConnectionClosed":
            return self._move(order, Denied("NOT_SENT", message))
        return lose(self, order, code, message)

    return mutated


def unreadable_is_rejected(received: Any) -> Any:
    def mutated(self: Desk, order: Any, frame: Any) -> Any:
        try:
            self._codec.decode_buy(frame)
        except MalformedAnswer as error:
            return self._move(order, Rejected("MalformedAnswer", str(error)))
        return received(self, order, frame)

    return mutated


# Ids and restarts


def in_memory_only(_find: Any) -> Any:
    def mutated(self: Desk, order_id: str) -> Any:
        return self.open.get(order_id)

    return mutated


def without_unknown(recover: Any) -> Any:
    def mutated(self: Desk) -> None:
        recover(self)
        for order_id in [name for name, order in self.open.items() if order.state is State.UNKNOWN]:
            del self.open[order_id]
            self.unknown.pop(order_id, None)

    return mutated


def never_sent(take_up: Any) -> Any:
    def mutated(self: Desk, order: Any, reason: str) -> Any:
        if order.state is State.SENT:
            return self._move(order, Denied("NOT_SENT", reason))
        return take_up(self, order, reason)

    return mutated


def without_doubts(recover: Any) -> Any:
    def mutated(self: Desk) -> None:
        recover(self)
        for order_id, order in self.unknown.items():
            self.unknown[order_id] = self.open[order_id] = replace(order, doubt=Doubt.NONE, candidates=())

    return mutated


# Records


def nothing_claimed(_claimed: Any) -> Any:
    def mutated(*_arguments: Any) -> set[int]:
        return set()

    return mutated


def without_index(open_: Any) -> Any:
    def mutated(self: Journal) -> None:
        open_(self)
        self._store.commit([("DROP INDEX IF EXISTS orders_by_contract", ())], durable=False)

    return mutated


def without_claims(remember: Any) -> Any:
    def mutated(self: Journal, order: Any) -> None:
        remember(self, order)
        self._claims.clear()

    return mutated


def whatever_the(name: str) -> Callable[[Any], Any]:
    def change(differing: Any) -> Any:
        def mutated(order: Any, purchase: Any) -> Any:
            value = getattr(purchase, {"stake": "price"}.get(name, name))
            return differing(replace(order, terms=replace(order.terms, **{name: value})), purchase)

        return mutated

    return change


def whatever_the_duration(differing: Any) -> Any:
    def mutated(order: Any, purchase: Any) -> Any:
        name = differing(order, purchase)
        return None if name == "duration" else name

    return mutated


def only_alone(judge: Any) -> Any:
    def mutated(*arguments: Any) -> Any:
        return [
            verdict for verdict in judge(*arguments) if getattr(verdict[1], "attribution", "") != Attribution.INFERRED
        ]

    return mutated


def each_for_itself(judge: Any) -> Any:
    def mutated(lost: Any, *rest: Any) -> Any:
        return [verdict for entry in lost for verdict in judge([entry], *rest)]

    return mutated


def _with_reads(judge: Any, clean_reads: int, read_ns: int) -> Any:
    """As if so many statements had been read for the orders that purchases fit."""

    def mutated(lost: Any, in_flight: Any, purchases: Any, now_ns: int, slack_s: float, *rest: Any) -> Any:
        entries = [
            replace(entry, clean_reads=clean_reads, read_ns=read_ns)
            if any(fits(entry.order, purchase, now_ns, slack_s) for purchase in purchases)
            else entry
            for entry in lost
        ]
        return judge(entries, in_flight, purchases, now_ns, slack_s, *rest)

    return mutated


def at_once_if_fewer(judge: Any) -> Any:
    return _with_reads(judge, 2, 2**62)


def never_if_fewer(judge: Any) -> Any:
    return _with_reads(judge, 0, 0)


def seen_is_matched(look: Any) -> Any:
    async def mutated(self: Reconciler) -> None:
        before = set(self._evidence.purchases)
        await look(self)
        for contract_id, one in list(self._evidence.purchases.items()):
            like = [order for order in self._desk.unknown.values() if differing_term(order, one) is None]
            if like and contract_id not in before:
                what = (one.contract_id, one.transaction_id, one.price, one.payout, one.epoch_s)
                self._desk.confirm(like[0], Confirmed(*what, Attribution.RECORD))

    return mutated


def read_once(_proven: Any) -> Any:
    def mutated(entry: Any, *_rest: Any) -> bool:
        return bool(entry.clean_reads)

    return mutated


def read_early(_proven: Any) -> Any:
    def mutated(entry: Any, *_rest: Any) -> bool:
        return bool(entry.clean_reads >= TWICE)

    return mutated


def given_up(read: Any) -> Any:
    async def mutated(self: Reconciler) -> None:
        try:
            await read(self)
        except UNREADABLE:
            for order in list(self._desk.unknown.values()):
                self._desk.conclude(order, NotFound())

    return mutated


def doubt_is_final(take_stock: Any) -> Any:
    def mutated(self: Reconciler) -> None:
        take_stock(self)
        for order_id in [name for name, entry in self._lost.items() if entry.order.doubt is not Doubt.NONE]:
            del self._lost[order_id]
            self._steps.pop(order_id, None)

    return mutated


def whoever_asks(_check: Any) -> Any:
    def mutated(self: Desk, order_id: str, _bot: str, _terms: Any) -> None:
        for order in self.unknown.values():
            if order.doubt is not Doubt.NONE:
                raise OrderDoubtfulError(order_id, order.order_id)

    return mutated


# Ends


def for_the_payout(settle: Any) -> Any:
    def mutated(self: Settlements, contract_id: int, event: Settled) -> None:
        order = self._desk.open.get(self._by_contract.get(contract_id, ""))
        if order is not None and event.sell_price and order.payout:
            event = replace(event, sell_price=order.payout)
        settle(self, contract_id, event)

    return mutated


def no_early_sales(settle: Any) -> Any:
    def mutated(self: Settlements, contract_id: int, event: Settled) -> None:
        if contract_id in self._by_contract:
            settle(self, contract_id, event)

    return mutated


def settled_again(settle: Any) -> Any:
    def mutated(self: Settlements, contract_id: int, event: Settled) -> None:
        ended: dict[int, str] = vars(self).setdefault("ended", {})
        if contract_id in self._by_contract:
            ended[contract_id] = self._by_contract[contract_id]
        order = self._desk.find(ended.get(contract_id, ""))
        if order is not None and order.state is State.SETTLED:
            self._desk.conclude(order, event)
        else:
            settle(self, contract_id, event)

    return mutated


def final_no_more(allowed: Any) -> Any:
    return {**allowed, Settled: frozenset({State.CONFIRMED, State.SETTLED})}
