"""Liveness: what the gateway must do in time: listen, look, believe what it has read, say what it cannot tell.

Rules 4, 15, 16, 17 and 21 of ``docs/orders.md``, seen from outside.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.order import Doubt, State
from tests.sim.foreign_trader import FOREIGN
from tests.sim.observed_reads import DONE_BY_S, LISTS, MONEY, OTHER, TRADE
from tests.sim.virtual_time import NS_PER_S

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from tests.sim.gateway_life import GatewayLife
    from tests.sim.world import World

__all__ = ["Liveness"]

PROVING = frozenset({"RateLimit", "PriceMoved", "SanityCheckFailed", "AuthorizationRequired", "InvalidToken"})
"""Codes of the table that are played."""
SOON_S = 0.25
UNREADABLE_S = 60
OVERDUE_S = 5
PORTFOLIO_S, STATEMENT_S = 1, 2
AT_ONCE_S = 1.9
"""What was looked at is made use of before the first statement would be read."""
LISTENS_AGAIN_S = 15
"""The transaction stream is open again so long after anything has happened to a socket."""
LATE_TICK_S = 2
"""A contract's last tick may come so much later than at the earliest."""


class Liveness:
    """Of all lives of the gateway; each duty is that of the life in which it arises."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[tuple[int, int], str] = {}
        """By socket and number of the call: the order that it is to buy."""
        self._heard_ns: dict[int, int] = {}
        """When the stream has told of a purchase."""
        self._born_ns = 0
        self._silent_looks = 0
        self._likes: Counter[tuple[Decimal, str]] = Counter(
            (terms.stake, terms.symbol)
            for terms in (
                *(order.terms for order in world.plan.orders),
                *(disturbance.terms for disturbance in world.plan.disturbances if disturbance.terms is not None),
            )
        )

    def _owes(self, kind: str, text: str) -> None:
        problem = f"{kind}: {text}"
        if problem not in self._world.violations:
            self._world.violations.append(problem)

    def begin(self) -> None:
        """A gateway starts."""
        self._asked.clear()
        self._heard_ns.clear()
        self._born_ns = self._world.timeline.now_ns

    def asked(self, number: int, text: str, order_id: str) -> None:
        """A frame for an order was handed over on a socket."""
        if text.startswith('{"buy"'):
            self._asked[number, json.loads(text)["req_id"]] = order_id

    def heard(self, life: GatewayLife, number: int, frame: dict[str, Any]) -> None:
        """The gateway has read a frame."""
        order_id = self._asked.pop((number, frame.get("req_id", 0)), "")
        if frame.get("error", {}).get("code") in PROVING:
            self._refused(life, order_id)
        movement: dict[str, Any] = frame.get("transaction", {})
        if movement.get("action") == "buy":
            self._heard_ns.setdefault(movement["contract_id"], self._world.timeline.now_ns)
        contract: dict[str, Any] = frame.get("proposal_open_contract", {})
        if contract.get("contract_id") in self._heard_ns:
            self._shown(life, contract["contract_id"])

    def _refused(self, life: GatewayLife, order_id: str) -> None:
        """Rule 4: a code of the table is believed."""
        order = self._world.orders.get(order_id)
        if order is None or order.state not in (State.SENT, State.UNKNOWN):
            return

        def check() -> None:
            if self._is_awake(life, SOON_S) and self._world.orders[order_id].state is not State.REJECTED:
                self._owes("ignored_news", f"the gateway has read the refusal of {order_id}, and did not believe it")

        self._world.timeline.after(SOON_S, check)

    # Lost orders

    def lost(self, order: Order) -> None:
        """An order's answer is lost, or was lost in an earlier life."""
        world, life = self._world, self._world.life
        assert life is not None
        since_ns = max(order.lost_time_ns, self._born_ns)

        def is_nothing_done() -> bool:
            now = world.orders[order.order_id]
            return world.life is life and now.state is State.UNKNOWN and now.doubt is Doubt.NONE

        def check_portfolio() -> None:
            if is_nothing_done() and world.reads.is_easy(since_ns, MONEY, LISTS):
                portfolios, statements = world.reads.read_for(order, since_ns)
                own_ns = order.lost_time_ns + STATEMENT_S * NS_PER_S
                if not portfolios and not any(asked_ns < own_ns for asked_ns in statements):
                    self._owes("under_read", f"the portfolio was not read for {order.order_id}")

        def check_doubt() -> None:
            if is_nothing_done() and not world.reads.is_answered(order):
                what = f"no statement could be read for {order.order_id} for {UNREADABLE_S} s, and nobody is told"
                self._owes("silently_unknown", what)

        if order.lost_time_ns == world.timeline.now_ns:
            world.timeline.after(PORTFOLIO_S + DONE_BY_S, check_portfolio)
        world.timeline.after(UNREADABLE_S + DONE_BY_S, check_doubt)

    def judge_unreadable(self, order: Order) -> None:
        """Rule 17: an order is in doubt because no statement could be read."""
        for_ns = self._world.timeline.now_ns - max(order.lost_time_ns, self._born_ns)
        if for_ns < UNREADABLE_S * NS_PER_S:
            what = f"{order.order_id} is in doubt for want of records after {for_ns / NS_PER_S:.1f} s"
            self._owes("believed_early", what)

    def _is_singular(self, order: Order) -> bool:
        """Whether the stream tells of nothing else that looks like it."""
        terms: OrderTerms = order.terms
        return self._likes[terms.stake, terms.symbol] == 1

    def _open_to_the_stream(self, contract_id: int) -> Order | None:
        """The order without an answer that a contract was bought for, if nothing else can be meant."""
        order = self._world.orders.get(self._world.bought.get(contract_id, FOREIGN))
        if order is None or order.state is not State.UNKNOWN or order.doubt is not Doubt.NONE:
            return None
        return order if self._is_singular(order) else None

    def _shown(self, life: GatewayLife, contract_id: int) -> None:
        """Rules 9 and 16: what was looked at belongs to the one order that it can be."""

        def check() -> None:
            order = self._open_to_the_stream(contract_id)
            if order is not None and self._is_awake(life, AT_ONCE_S):
                what = f"{contract_id} was looked at and can only be {order.order_id}, which is unknown still"
                self._owes("ignored_news", what)

        is_for_a_person = (life, contract_id) in self._world.operator.asks_about
        if not is_for_a_person and self._open_to_the_stream(contract_id) is not None:
            self._world.timeline.after(AT_ONCE_S, check)

    # All the time

    def look(self) -> None:
        """Once a second."""
        world = self._world
        if world.life is None or not world.life.serving:
            return
        now_ns = world.timeline.now_ns
        listens = any(connection.streams.get(("transaction",)) for connection in world.exchange.connections.values())
        self._silent_looks = 0 if listens else self._silent_looks + 1
        # A socket that has just ended there ends here a moment later.
        if self._silent_looks > 1 and world.reads.is_easy(now_ns - LISTENS_AGAIN_S * NS_PER_S, OTHER):
            self._owes("under_read", "nobody listens to the account's transactions")
        for order in world.orders.values():
            if order.state is State.CONFIRMED:
                self._look_at(order, now_ns)

    def _look_at(self, order: Order, now_ns: int) -> None:
        """Rule 21: a contract that should have ended is asked about."""
        contract = self._world.exchange.options_account.contracts.get(order.contract_id)
        if contract is None or (decided_s := contract.timeline.decided_s) is None:
            return
        over_ns = (decided_s + LATE_TICK_S + OVERDUE_S) * NS_PER_S
        due_ns = max(over_ns, self._world.moved_ns[order.order_id], self._born_ns)
        if now_ns < due_ns + DONE_BY_S * NS_PER_S or not self._world.reads.is_easy(due_ns, TRADE, MONEY, LISTS):
            return
        if self._world.reads.is_looking():
            return  # contracts that end together are looked at one after the other
        if not self._world.reads.has_looked(order.contract_id, due_ns - (LATE_TICK_S + OVERDUE_S) * NS_PER_S):
            self._owes("under_read", f"{order.order_id} should have ended, and nobody looked at its contract")

    def _is_awake(self, life: GatewayLife, for_s: float) -> bool:
        """Whether a gateway lives, and has not stood still."""
        world = self._world
        return world.life is life and life.loop.stands_until_ns <= world.timeline.now_ns - round(for_s * NS_PER_S)
