"""Mutations of exits, made as those of ``purchase_mutations`` are."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.exit import DECIDED, EXIT, Ending, ExitDone, ExitState, exit_of
from derivfleet.gateway.core.orders.operations import Lost, Sent
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.core.orders.transitions import ExitMoved, advance

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.operations import Walk
    from derivfleet.gateway.orders.exits import ExitOperation, Exits
    from derivfleet.gateway.orders.registry import OrderRegistry


def sent_in_memory(move: Any) -> Any:
    def mutated(self: OrderRegistry, order: Any, event: Any) -> Any:
        if not isinstance(event, ExitMoved) or not isinstance(event.event, Sent):
            return move(self, order, event)
        moved = self.open[order.order_id] = advance(order, event, self._clock.now_ns())
        return moved

    return mutated


def forgotten_once_decided(carry_out: Any) -> Any:
    async def mutated(self: Exits, order: Any, exit_id: str, *rest: Any) -> Any:
        order = self._registry.find(order.order_id) or order
        known = exit_of(order.exits, exit_id)
        if known is not None and known.state in DECIDED and order.state is State.CONFIRMED:
            left = tuple(one for one in order.exits if one is not known)
            order = self._registry.open[order.order_id] = replace(order, exits=left)
        return await carry_out(self, order, exit_id, *rest)

    return mutated


def lost_is_denied(unanswered: Any) -> Any:
    def mutated(self: Walk[Any], code: str, handed_over: bool, who_tells: str) -> Any:
        return unanswered(self, code, handed_over and self is not EXIT, who_tells)

    return mutated


def lost_is_done(step_: Any) -> Any:
    def mutated(self: ExitOperation, step: Any) -> None:
        if isinstance(step, Lost) and self.state is ExitState.SENT:
            self._done(ExitDone())
        else:
            step_(self, step)

    return mutated


def left_as_they_are(_after: Any) -> Any:
    def mutated(exit_: Any, *_rest: Any) -> Any:
        return exit_

    return mutated


def whichever_way_it_ended(after: Any) -> Any:
    def mutated(exit_: Any, _ending: Any, *rest: Any) -> Any:
        return after(exit_, Ending.EXPIRED, *rest)

    return mutated
