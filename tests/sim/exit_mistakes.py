"""Mistakes with exits, made as those of ``mistakes`` are."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.exit import DECIDED, Ending, ExitDone, ExitState, exit_of
from derivfleet.gateway.core.orders.operations import Denied, Sent
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.core.orders.transitions import ExitMoved, advance

if TYPE_CHECKING:
    from derivfleet.gateway.orders.exits import Exits


def sent_in_memory(move: Any) -> Any:
    def mutated(self: Exits, order_id: str, exit_id: str, event: Any) -> None:
        order = self._desk.open.get(order_id)
        if order is None or not isinstance(event, Sent):
            move(self, order_id, exit_id, event)
            return
        self._desk.open[order_id] = advance(order, ExitMoved(exit_id, event), self._clock.now_ns())

    return mutated


def forgotten_once_decided(carry_out: Any) -> Any:
    async def mutated(self: Exits, order: Any, exit_id: str, *rest: Any) -> Any:
        order = self._desk.find(order.order_id) or order
        known = exit_of(order.exits, exit_id)
        if known is not None and known.state in DECIDED and order.state is State.CONFIRMED:
            left = tuple(one for one in order.exits if one is not known)
            order = self._desk.open[order.order_id] = replace(order, exits=left)
        return await carry_out(self, order, exit_id, *rest)

    return mutated


def never_sent(abandon: Any) -> Any:
    def mutated(self: Exits, order_id: str, exit_id: str, reason: str) -> None:
        if self._state(order_id, exit_id) is ExitState.SENT:
            self._move(order_id, exit_id, Denied("NOT_SENT", reason))
        else:
            abandon(self, order_id, exit_id, reason)

    return mutated


def lost_is_denied(_lost: Any) -> Any:
    def mutated(error: Any) -> Any:
        return Denied(error.code, "the answer was lost")

    return mutated


def lost_is_done(_lost: Any) -> Any:
    def mutated(_error: Any) -> Any:
        return ExitDone()

    return mutated


def left_as_they_are(_after: Any) -> Any:
    def mutated(exit_: Any, *_rest: Any) -> Any:
        return exit_

    return mutated


def whichever_way_it_ended(after: Any) -> Any:
    def mutated(exit_: Any, _ending: Any, *rest: Any) -> Any:
        return after(exit_, Ending.EXPIRED, *rest)

    return mutated
