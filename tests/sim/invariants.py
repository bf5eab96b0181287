"""Invariants: what must hold at every step, seen from outside, at each frame, commit and refusal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.exit import ExitState, exit_of
from derivfleet.gateway.core.orders.order import FINAL, Attribution, Doubt, State
from tests.sim.foreign_trader import FOREIGN

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.exit import Exit
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.orders.registry import OrderRegistry
    from tests.sim.plan import OrderPlan
    from tests.sim.world import World

__all__ = ["Invariants"]

LAG_S = 25.0
"""A statement that lags by less may not make an order look as if it had not been bought."""
APART_S = 4
"""Between the second of a purchase and its order's times: the slack of rule 7, a clock that is off, and rounding."""


DECIDED_BY_END = frozenset({ExitState.DONE, ExitState.NOT_DONE})


def _is_decided_by_end(order: Order, exit_: Exit) -> bool:
    """Whether an exit was written down as sent, and then its contract has ended: that may come before its sending."""
    return order.state is State.SETTLED and exit_.sent_time_ns > 0 and exit_.state in DECIDED_BY_END


class Invariants:
    """The rules at work."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sold_by: dict[int, tuple[str, str]] = {}
        """Which exit's frame has sold each contract."""
        self._sales_left: set[tuple[str, str]] = set()

    def _wrong(self, kind: str, text: str) -> None:
        self._world.violations.append(f"{kind}: {text}")

    def frame_left(self, text: str, order_id: str, exit_id: str) -> None:
        """A frame for an order was handed to a socket: written down before, and a sale once, and alone."""
        order = self._world.orders.get(order_id)
        if text.startswith('{"buy"') and (order is None or order.state is not State.SENT):
            self._wrong("unwritten", f"{order_id} was sent, and in the journal it is {order and order.state}")
        if not text.startswith('{"sell"'):
            return
        key = (order_id, exit_id)
        known = None if order is None else exit_of(order.exits, exit_id)
        if known is None or order is None or not (known.state is ExitState.SENT or _is_decided_by_end(order, known)):
            self._wrong("unwritten", f"sale {exit_id} of {order_id} was sent, and in the journal it is {known}")
        if key in self._sales_left:
            self._wrong("sold_twice", f"sale {exit_id} of {order_id} was sent twice")
        self._sales_left.add(key)
        undecided = [
            one.exit_id
            for one in self._world.orders[order_id].exits
            if one.exit_id != exit_id and one.state in ("sent", "unknown")
        ]
        if undecided:
            self._wrong("sold_twice", f"sale {exit_id} of {order_id} was sent while nobody knew about {undecided}")

    def executed(self, text: str, order_id: str, exit_id: str) -> None:
        """The exchange has worked on a frame."""
        if not text.startswith('{"sell"'):
            return
        contract_id: int = json.loads(text)["sell"]
        contract = self._world.exchange.options_account.contracts.get(contract_id)
        if contract is not None and contract.sale is not None and contract.sale.by_client:
            self.sold_by.setdefault(contract_id, (order_id, exit_id))

    def committed(self, before: Order | None, order: Order) -> None:
        """The journal holds a transition."""
        if before is not None and before.state is State.CONFIRMED and order.state is State.UNKNOWN:
            self._world.reads.judge_disproved(before, order)
        elif order.state is State.UNKNOWN and (before is None or before.state is not State.UNKNOWN):
            self._world.reads.lost(order)
            self._world.liveness.lost(order)
        self._stated(before, order)
        if before is None:
            self._taken(order)
        elif before.doubt is Doubt.NO_CONTRACT is not order.doubt:
            self._world.reads.decided_ns[order.order_id] = self._world.timeline.now_ns
            if not order.resolved_by:
                self._wrong("believed_early", f"{order.order_id} is {order.state}, and nobody has said what was bought")
        elif before.state is State.UNKNOWN and order.state is State.NOT_FOUND and not order.resolved_by:
            self._world.reads.judge_absence(order)
        elif before.state is State.CONFIRMED and order.state is State.CONFIRMED:
            self._exits_moved(before, order)
        if order.contract_id and (before is None or not before.contract_id):
            self._tied(order)

    def _stated(self, before: Order | None, order: Order) -> None:
        """What is written down is so: times by which reads and purchases are judged, doubts, and whose word it was."""
        now_ns, name = self._world.timeline.now_ns, order.order_id
        was = None if before is None else before.state
        if was is State.INTENDED and order.state is State.SENT and order.sent_time_ns != now_ns:
            self._wrong("misstated", f"{name} was not sent at {order.sent_time_ns}")
        if was is State.SENT and order.state is State.UNKNOWN and order.lost_time_ns != now_ns:
            self._wrong("misstated", f"the answer to {name} was not lost at {order.lost_time_ns}")
        if was is not order.state is not State.UNKNOWN and (order.doubt is not Doubt.NONE or order.candidates):
            self._wrong("misstated", f"{name} is {order.state}, and in doubt still")
        if was is not order.state is State.CONFIRMED:
            if bool(order.resolved_by) != (order.attribution is Attribution.OPERATOR):
                self._wrong("misstated", f"{name} has its contract by {order.attribution}, as {order.resolved_by} says")
        elif order.doubt is Doubt.UNREADABLE and (before is None or before.doubt is not Doubt.UNREADABLE):
            self._world.liveness.judge_unreadable(order)
        exits = {one.exit_id: one.state for one in (() if before is None else before.exits)}
        for one in order.exits:
            is_news = exits.get(one.exit_id) is not one.state
            if is_news and one.state is ExitState.SENT and one.sent_time_ns != now_ns:
                self._wrong("misstated", f"sale {one.exit_id} of {name} was not sent at {one.sent_time_ns}")
            if is_news and one.state is ExitState.UNKNOWN and one.lost_time_ns != now_ns:
                self._wrong("misstated", f"the answer to {one.exit_id} of {name} was not lost at {one.lost_time_ns}")

    def _exits_moved(self, before: Order, order: Order) -> None:
        """A contract that is open shows late enough that a sale was not done."""
        states = {one.exit_id: one.state for one in before.exits}
        for one in order.exits:
            if one.state is ExitState.UNKNOWN and states.get(one.exit_id) is not ExitState.UNKNOWN:
                self._world.reads.exit_lost(order, one)
            if one.state is ExitState.NOT_DONE and states.get(one.exit_id) is ExitState.UNKNOWN:
                self._world.reads.judge_not_done(order, one)

    def _taken(self, order: Order) -> None:
        """A bot does not buy again what nobody can tell about."""
        for other in self._world.orders.values():
            is_like = (other.bot, other.terms) == (order.bot, order.terms)
            if other.state is State.UNKNOWN and other.doubt is not Doubt.NONE and is_like:
                self._wrong(
                    "bought_in_doubt", f"{order.order_id} was taken while nobody can tell about {other.order_id}"
                )

    def _tied(self, order: Order) -> None:
        """A contract has found its order: by its receipt or as the only one it can be, then it is that order's."""
        name = order.order_id
        owner = self._world.misnamed.get(order.contract_id) or self._world.bought[order.contract_id]
        what = f"{name} was given {order.contract_id}, bought for {owner}"
        if owner == name:
            pass
        elif order.attribution in (Attribution.RECEIPT, Attribution.RECORD) and not order.found_late:
            self._wrong("stolen", f"{what}, by its {order.attribution}")
        elif owner == FOREIGN or self._world.orders[owner].state is State.SENT:
            self._wrong("stolen", f"{what}, who has not lost it")
        since_s, until_s = order.sent_time_ns // 10**9 - APART_S, order.lost_time_ns // 10**9 + APART_S
        if order.lost_time_ns and not since_s <= order.purchase_epoch_s <= until_s:
            self._wrong("stolen", f"{what}, at another time")
        is_matched = order.attribution in (Attribution.RECORD, Attribution.INFERRED)
        if is_matched and self._world.foreign_trader.is_near(order):
            self._wrong("stolen", f"{what}, by its {order.attribution}, though a foreign trade is like it")
        if order.found_late and self._world.plan.lag_s < LAG_S:
            self._wrong("believed_early", f"{name} was taken for not bought, though the statement told soon")

    def told(self, order: Order) -> None:
        """A bot is told where its order stands: there, and not where it stood."""
        now = self._world.orders[order.order_id]
        is_news = self._world.moved_ns[order.order_id] == self._world.timeline.now_ns
        if (order.state, order.contract_id) != (now.state, now.contract_id) and not is_news:
            self._wrong("two_answers", f"{order.order_id} is {now.state}, and its bot is told that it is {order.state}")

    def told_of_sale(self, order_id: str, told: Exit) -> None:
        """The same about a sale."""
        now = exit_of(self._world.orders[order_id].exits, told.exit_id)
        is_news = self._world.moved_ns[order_id] == self._world.timeline.now_ns
        if now is not None and now.state is not told.state and not is_news:
            self._wrong("two_answers", f"{told.exit_id} of {order_id} is {now.state}, and is told to be {told.state}")

    def recovered(self, registry: OrderRegistry) -> None:
        """A gateway has taken up what the journal holds: it knows of each open order what was known before."""
        for order in self._world.orders.values():
            found = None if order.state in FINAL else registry.find(order.order_id)
            if found is not None and order.state is State.UNKNOWN and order.doubt is not Doubt.NO_CONTRACT:
                self._world.liveness.lost(order)
            if order.state not in FINAL and (found is None or _known(found) != _known(order)):
                self._wrong("forgotten", f"{order.order_id} is {found and _known(found)} after a restart")

    def refused(self, plan: OrderPlan, doubtful: str) -> None:
        """A bot was told to wait until somebody has decided about another order: one of its own, and just like it."""
        other = self._world.orders[doubtful]
        self._world.note(f"{plan.order_id} has to wait for {doubtful}")
        if (other.bot, other.terms) != (plan.bot, plan.terms) or other.doubt is Doubt.NONE:
            self._wrong("held_up", f"{plan.order_id} had to wait for {doubtful}")


def _known(order: Order) -> tuple[object, ...]:
    times = (order.sent_time_ns, order.lost_time_ns)
    return order.state, order.doubt, order.candidates, order.contract_id, order.exits, times
