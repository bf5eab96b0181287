"""Another program that trades on the same account, and what the gateway has told of its trades."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.orders import mapping
from tests.sim.plan import MISNAMED

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
    from tests.sim.gateway_life import GatewayLife
    from tests.sim.world import World

__all__ = ["FOREIGN", "ForeignTrader"]

FOREIGN = "a foreign trader"
COUNTS_S = 590.0
"""A little less than the time for which a foreign trade keeps the like of it from being matched blindly."""
TOLD_AFTER_S = 8.0
"""A foreign trade that the gateway has heard of is told by then."""


class ForeignTrader:
    """Trades on the account with another program."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.terms: dict[int, OrderTerms] = {}
        """What each contract is."""
        self._told: dict[int, ForeignTrade] = {}

    def buy(self, terms: OrderTerms) -> None:
        """Buy something."""
        world, exchange = self._world, self._world.exchange
        now_ns, account = world.timeline.now_ns, exchange.options_account
        connection = exchange.connect(Dialect.OPTIONS, "other", FOREIGN, now_ns, account.loginid)
        frame = dialect(Dialect.OPTIONS).encode_request(mapping.purchase(terms, account.currency), 1)
        before = len(world.bought)
        effects = exchange.receive(connection.number, json.dumps(frame), now_ns)
        world.executed("", FOREIGN, "")
        self.terms.update(dict.fromkeys(list(world.bought)[before:], terms))
        world.network.carry_out(effects)
        exchange.disconnect(connection.number)

    def remember(self, life: GatewayLife) -> None:
        """What a gateway has told of so far; but not what it could not write down."""
        evidence = life.room.orders.evidence
        unwritten = {trade.contract_id for trade in evidence.unwritten}
        self._told |= {
            trade.contract_id: trade for trade in evidence.newest_foreign(1_000) if trade.contract_id not in unwritten
        }

    def is_near(self, order: Order) -> bool:
        """Whether a gateway, the living one or an earlier, has told of a foreign trade like an order."""
        if (life := self._world.life) is not None:
            self.remember(life)
        return any(
            (one.stake, one.symbol) == (order.terms.stake, order.terms.symbol)
            and abs(trade.epoch_s - order.sent_time_ns // 10**9) <= COUNTS_S
            for trade in self._told.values()
            if trade.price is not None  # of what it was told of by its sale alone, nobody knows what it was
            and (one := self.terms.get(trade.contract_id)) is not None
        )

    def _may_be_ours(self, contract_id: int) -> bool:
        """Whether it looks like an order without an answer, and the gateway could not read what it is."""
        world, terms = self._world, self.terms[contract_id]
        return not world.reads.has_shown(contract_id) and any(
            order.state in (State.SENT, State.UNKNOWN, State.NOT_FOUND)
            and (order.terms.stake, order.terms.symbol) == (terms.stake, terms.symbol)
            for order in world.orders.values()
        )

    def heard(self, life: GatewayLife, contract_id: int) -> None:
        """The gateway was told of a purchase: soon it knows whether that is foreign."""
        owner = self._world.bought.get(contract_id, FOREIGN)
        is_foreign = owner == FOREIGN
        if not is_foreign and self._world.plans[owner].kind == MISNAMED:
            return  # by the receipt it is nobody's

        def check(might_be_ours: bool = False) -> None:
            if self._world.life is not life or life.loop.stands_until_ns > self._world.timeline.now_ns - round(
                TOLD_AFTER_S * 1e9
            ):
                return
            is_told = any(trade.contract_id == contract_id for trade in life.room.orders.evidence.newest_foreign(1_000))
            may_be_ours = is_foreign and self._may_be_ours(contract_id)
            # An order that it might have been has found its own a moment ago: the next round calls this one foreign.
            if not is_told and (may_be_ours or might_be_ours):
                self._world.timeline.after(TOLD_AFTER_S, lambda: check(may_be_ours))
            elif is_told != is_foreign:
                what = "foreign, and nobody tells" if is_foreign else "the fleet's, and called foreign"
                self._world.violations.append(f"mistaken: {contract_id} is {what}")

        self._world.timeline.after(TOLD_AFTER_S, check)
