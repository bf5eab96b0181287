"""Mutations of what is written down, told, answered and read in time, made as those of ``purchase_mutations`` are."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.connection.connection import AnswerLostError
from derivfleet.deriv.errors import Outcome
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError, LeaseLost
from derivfleet.gateway.core.orders.operations import Lost, Sent
from derivfleet.gateway.core.orders.order import Doubt
from derivfleet.gateway.core.orders.transitions import Confirmed, advance
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.orders.checks import Asked, DoubtCheck, Opening

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.connection.connection import Connection
    from derivfleet.gateway.core.leases.leases import Leases
    from derivfleet.gateway.journal.feed import Feed
    from derivfleet.gateway.orders.account_orders import AccountOrders
    from derivfleet.gateway.orders.purchases import Purchases
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.streams import StandingStream


# What is written down


def lost_at_the_sending(advance_: Any) -> Any:
    def mutated(order: Any, event: Any, now_ns: int) -> Any:
        moved = advance_(order, event, now_ns)
        return replace(moved, lost_time_ns=order.sent_time_ns) if isinstance(event, Lost) else moved

    return mutated


def exit_lost_at_the_sending(advance_exit: Any) -> Any:
    def mutated(exit_: Any, event: Any, now_ns: int) -> Any:
        moved = advance_exit(exit_, event, now_ns)
        return replace(moved, lost_time_ns=exit_.sent_time_ns) if isinstance(event, Lost) else moved

    return mutated


def sent_when_intended(advance_: Any) -> Any:
    def mutated(order: Any, event: Any, now_ns: int) -> Any:
        return advance_(order, event, order.intended_time_ns if isinstance(event, Sent) else now_ns)

    return mutated


def in_doubt_still(advance_: Any) -> Any:
    def mutated(order: Any, event: Any, now_ns: int) -> Any:
        moved = advance_(order, event, now_ns)
        if isinstance(event, Confirmed) and order.doubt is not Doubt.NONE:
            return replace(moved, doubt=order.doubt, candidates=order.candidates)
        return moved

    return mutated


def by_nobody(advance_: Any) -> Any:
    def mutated(order: Any, event: Any, now_ns: int) -> Any:
        moved = advance_(order, event, now_ns)
        return replace(moved, resolved_by="") if isinstance(event, Confirmed) else moved

    return mutated


def lost_anew(recover: Any) -> Any:
    def mutated(self: AccountOrders) -> None:
        recover(self)
        for order_id, order in self.registry.unknown.items():
            again = replace(order, lost_time_ns=self.client.clock.now_ns())
            self.registry.unknown[order_id] = self.registry.open[order_id] = again

    return mutated


def written_or_not(move: Any) -> Any:
    def mutated(self: OrderRegistry, order: Any, event: Any) -> Any:
        try:
            return move(self, order, event)
        except JournalError:
            if not isinstance(event, Sent):
                raise
        moved = self.open[order.order_id] = advance(order, event, self._clock.now_ns())
        return moved

    return mutated


# What is told


# What is told


def to_the_holder(buy: Any) -> Any:
    async def mutated(self: Purchases, bot: str, order_id: str, terms: Any, *rest: Any) -> Any:
        has_lease: Callable[[], bool] = rest[-1]
        if self._registry.find(order_id) is not None and not has_lease():
            raise DeniedError(LeaseLost(terms.symbol))
        return await buy(self, bot, order_id, terms, *rest)

    return mutated


def after_its_own_doubt(buy: Any) -> Any:
    async def mutated(self: Purchases, bot: str, order_id: str, terms: Any, *rest: Any) -> Any:
        denial = DoubtCheck(self._registry).taken(Asked(order_id, bot, Call.BUY, 0, Opening(terms, rest[-1])))
        if denial is not None:
            raise DeniedError(denial)
        return await buy(self, bot, order_id, terms, *rest)

    return mutated


def as_before(buy: Any) -> Any:
    async def mutated(self: Purchases, bot: str, order_id: str, *rest: Any) -> Any:
        told: dict[str, Any] = vars(self).setdefault("told", {})
        answer = await buy(self, bot, order_id, *rest)
        return told.setdefault(order_id, answer)

    return mutated


def only_the_stake(differing: Any) -> Any:
    def mutated(order: Any, bot: str, terms: Any) -> Any:
        field = differing(order, bot, replace(order.terms, stake=terms.stake))
        return None if field == "bot" else field

    return mutated


def to_nobody_alone(take: Any) -> Any:
    def mutated(self: Feed, event: Any) -> None:
        readers = {name: self._readers.pop(name) for name in [*self._readers] if name}
        take(self, event)
        self._readers |= readers

    return mutated


def only_the_last(after: Any) -> Any:
    def mutated(self: Feed, *arguments: Any) -> Any:
        return after(self, *arguments)[-1:]

    return mutated


# Answers


def only_if_something_else_helps(outcome_of: Any) -> Any:
    def mutated(*arguments: Any) -> Outcome:
        found = outcome_of(*arguments)
        return found if found is Outcome.NOT_EXECUTED else Outcome.UNKNOWN

    return mutated


def unsent_if_malformed(judge: Any) -> Any:
    def mutated(self: Connection, call: str, *rest: Any) -> Any:
        try:
            return judge(self, call, *rest)
        except AnswerLostError as error:
            raise AnswerLostError(
                call, error.code, handed_over=error.handed_over and error.code != "MalformedAnswer"
            ) from None

    return mutated


def handed_over_if_sent(transmit: Any) -> Any:
    async def mutated(self: Connection, req_id: int, text: str) -> None:
        try:
            await transmit(self, req_id, text)
        except Exception:
            if (entry := self._open.get(req_id)) is not None:
                entry.handed_over = False
            raise

    return mutated


# Reads, and who may buy


def always_whole(statement: Any) -> Any:
    async def mutated(line: Any, *rest: Any) -> Any:
        rows, _ = await statement(line, *rest)
        return rows, True

    return mutated


def opened_once(open_: Any) -> Any:
    async def mutated(self: StandingStream) -> None:
        if self._opened is not None:
            await asyncio.Event().wait()
        await open_(self)

    return mutated


def counted_from_one(divide: Any) -> Any:
    def mutated(self: Leases, _now_ns: int) -> None:
        divide(self, 0)

    return mutated
