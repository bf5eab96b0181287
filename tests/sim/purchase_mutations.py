"""Mutations of purchases, each made of the gateway's own code: ``change(original)`` is what goes in its place."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.connection.connection import AnswerLostError, Connection
from derivfleet.deriv.errors import MalformedAnswer, Outcome
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import OrderDoubtful
from derivfleet.gateway.core.orders.operations import Denied, Rejected, Sent
from derivfleet.gateway.core.orders.order import PURCHASE, Attribution, Doubt, State
from derivfleet.gateway.core.orders.transitions import Confirmed, NotFound, Settled, advance
from derivfleet.gateway.core.reconcile.lost_orders import differing_term, fits
from derivfleet.gateway.orders.checks import Asked, Opening
from derivfleet.gateway.reconciling.reconciler import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.gateway.core.orders.operations import Walk
    from derivfleet.gateway.journal.journal import Journal
    from derivfleet.gateway.journal.recent_orders import RecentOrders
    from derivfleet.gateway.orders.account_orders import AccountOrders
    from derivfleet.gateway.orders.checks import DoubtCheck
    from derivfleet.gateway.orders.operations import Operations
    from derivfleet.gateway.orders.purchases import Purchases
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.orders.settlements import Settlements
    from derivfleet.gateway.reconciling.lost_orders import LostOrders
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
    def mutated(self: OrderRegistry, order: Any, event: Any) -> Any:
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
        self: Purchases, bot: str, order_id: str, terms: Any, deadline_ns: int, trace: Any, has_lease: Any
    ) -> Any:
        registry = self._registry
        order = registry.unknown.get(order_id)
        if order is None or self._operations.under_way((order_id, "")) is not None:
            return await buy(self, bot, order_id, terms, deadline_ns, trace, has_lease)
        registry.open[order_id] = order = replace(registry.unknown.pop(order_id), state=State.INTENDED)
        asked = Asked(order_id, bot, Call.BUY, deadline_ns, Opening(terms, has_lease))
        self._checks.take(asked)
        return await self._operations.start(self._operation(order), asked, trace)

    return mutated


def once_allowed(buy: Any) -> Any:
    async def mutated(
        self: Purchases, bot: str, order_id: str, terms: Any, deadline_ns: int, trace: Any, has_lease: Any
    ) -> Any:
        asked: list[bool] = []

        def once() -> bool:
            asked.append(has_lease() if not asked else True)
            return asked[-1]

        return await buy(self, bot, order_id, terms, deadline_ns, trace, once)

    return mutated


# Answers


def always_telling(*calls: Call) -> Callable[[Any], Any]:
    def change(outcome_of: Any) -> Any:
        def mutated(call: Call, *rest: Any) -> Outcome:
            found: Outcome = outcome_of(call, *rest)
            return Outcome.NOT_EXECUTED if found is Outcome.UNKNOWN and call in calls else found

        return mutated

    return change


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


def lost_is_denied(unanswered: Any) -> Any:
    def mutated(self: Walk[Any], code: str, handed_over: bool, who_tells: str) -> Any:
        lost = self is PURCHASE and code == "ConnectionClosed"
        return unanswered(self, code, handed_over and not lost, who_tells)

    return mutated


def unreadable_is_rejected(_answered: Any) -> Any:
    def mutated(_self: Operations, operation: Any, frame: Any) -> None:
        try:
            operation.answered(frame)
        except MalformedAnswer as error:
            operation.step(Rejected("MalformedAnswer", str(error)))

    return mutated


# Ids and restarts


def in_memory_only(_find: Any) -> Any:
    def mutated(self: OrderRegistry, order_id: str) -> Any:
        return self.open.get(order_id)

    return mutated


def without_unknown(recover: Any) -> Any:
    def mutated(self: AccountOrders) -> None:
        recover(self)
        for order_id in list(self.registry.unknown):
            del self.registry.open[order_id], self.registry.unknown[order_id]

    return mutated


def never_sent(walk: Walk[Any]) -> Callable[[Any], Any]:
    def change(abandoned: Any) -> Any:
        def mutated(self: Walk[Any], state: Any, reason: str) -> Any:
            return Denied("NOT_SENT", reason) if self is walk and state is self.sent else abandoned(self, state, reason)

        return mutated

    return change


def without_doubts(recover: Any) -> Any:
    def mutated(self: AccountOrders) -> None:
        recover(self)
        for order_id, order in self.registry.unknown.items():
            known = replace(order, doubt=Doubt.NONE, candidates=())
            self.registry.unknown[order_id] = self.registry.open[order_id] = known

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


def without_claims(keep: Any) -> Any:
    def mutated(self: RecentOrders, order: Any) -> None:
        keep(self, order)
        self._claims.clear()

    return mutated


def whatever_the(name: str) -> Callable[[Any], Any]:
    def change(differing: Any) -> Any:
        def mutated(order: Any, purchase: Any) -> Any:
            value = purchase.price if name == "stake" else getattr(purchase.shortcode, name) or ""
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
    async def mutated(self: LostOrders) -> None:
        before = set(self._evidence.purchases)
        await look(self)
        for contract_id, one in list(self._evidence.purchases.items()):
            like = [order for order in self._registry.unknown.values() if differing_term(order, one) is None]
            if like and contract_id not in before:
                what = (one.contract_id, one.transaction_id, one.price, one.payout, one.epoch_s)
                self._registry.confirm(like[0], Confirmed(*what, Attribution.RECORD))

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
    async def mutated(self: LostOrders) -> None:
        try:
            await read(self)
        except UNREADABLE:
            for order in list(self._registry.unknown.values()):
                self._registry.move(order, NotFound())

    return mutated


def doubt_is_final(take_stock: Any) -> Any:
    def mutated(self: LostOrders) -> None:
        take_stock(self)
        for order_id in [name for name, entry in self._lost.items() if entry.order.doubt is not Doubt.NONE]:
            del self._lost[order_id]
            self._steps.pop(order_id, None)

    return mutated


def whoever_asks(_taken: Any) -> Any:
    def mutated(self: DoubtCheck, _asked: Any) -> Any:
        doubtful = (order for order in self._registry.unknown.values() if order.doubt is not Doubt.NONE)
        return next((OrderDoubtful(order.order_id) for order in doubtful), None)

    return mutated


# Ends


def for_the_payout(settle: Any) -> Any:
    def mutated(self: OrderRegistry, contract_id: int, event: Settled) -> bool:
        order = self.of_contract(contract_id)
        if order is not None and event.sell_price and order.payout:
            event = replace(event, sell_price=order.payout)
        return bool(settle(self, contract_id, event))

    return mutated


def no_early_sales(settle: Any) -> Any:
    def mutated(self: Settlements, contract_id: int, event: Settled) -> None:
        if self._registry.of_contract(contract_id) is not None:
            settle(self, contract_id, event)

    return mutated


def settled_again(settle: Any) -> Any:
    def mutated(self: OrderRegistry, contract_id: int, event: Settled) -> bool:
        ended: dict[int, str] = vars(self).setdefault("ended", {})
        order = self.of_contract(contract_id)
        if order is not None:
            ended[contract_id] = order.order_id
        order = self.find(ended.get(contract_id, ""))
        if order is None or order.state is not State.SETTLED:
            return bool(settle(self, contract_id, event))
        self.move(order, event)
        return True

    return mutated


def final_no_more(allowed: Any) -> Any:
    return {**allowed, Settled: frozenset({State.CONFIRMED, State.SETTLED})}
