"""Those beside the fleet: a foreign trader on the same account, and the operator who decides what is in doubt."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.core.orders.order import Doubt, State
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.orders import mapping
from tests.sim.plan import MISNAMED

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
    from tests.sim.life import Life
    from tests.sim.world import World

__all__ = ["FOREIGN", "ForeignTrader", "Operator"]

FOREIGN = "a foreign trader"
PATIENCE_S = 40.0
"""How long the operator leaves a doubt to the records."""
TRIES_EVERY_S = 15.0
MEDDLES = 0.05
"""How often each second the operator says something about an order that is none of their business yet."""
RIGHTLY = 0.3
SURELY_AFTER_S = 6.0
"""So long after its loss no frame of an order is on its way any more."""
NO_CONTRACT = 999_999
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

    def remember(self, life: Life) -> None:
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
        return not world.records.has_shown(contract_id) and any(
            order.state in (State.SENT, State.UNKNOWN, State.NOT_FOUND)
            and (order.terms.stake, order.terms.symbol) == (terms.stake, terms.symbol)
            for order in world.orders.values()
        )

    def heard(self, life: Life, contract_id: int) -> None:
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


class Operator:
    """Decides about orders that the records will not decide: first wrongly, as people do, then by what Deriv shows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen_ns: dict[str, int] = {}
        self._tried_ns: dict[str, int] = {}
        self.asks_about: list[tuple[Life, int]] = []
        """Contracts that a gateway looks at for a person just now; what it sees there decides about nothing else."""
        self._random = random.Random(f"operator/{world.plan.seed}")

    def look(self, life: Life) -> None:
        """See what waits."""
        now_ns = self._world.timeline.now_ns
        for order in self._world.orders.values():
            is_open = order.state in (State.UNKNOWN, State.NOT_FOUND)
            if not is_open or order.doubt in (Doubt.NONE, Doubt.UNREADABLE):
                self._seen_ns.pop(order.order_id, None)
                continue
            since_ns = self._seen_ns.setdefault(order.order_id, now_ns)
            tried_ns = self._tried_ns.get(order.order_id, 0)
            if now_ns - since_ns >= PATIENCE_S * 1e9 and now_ns - tried_ns >= TRIES_EVERY_S * 1e9:
                self._tried_ns[order.order_id] = now_ns
                life.loop.create_task(self._decide(life, order))
        if self._world.orders and self._random.random() < MEDDLES:
            life.loop.create_task(self._meddle(life))

    async def _meddle(self, life: Life) -> None:
        """Say something wrong about any order, or what is right about one that the gateway is still looking for."""
        world = self._world
        lost = [one for one in world.orders.values() if one.state is State.UNKNOWN]
        order = self._random.choice(lost or list(world.orders.values()))
        wrong = [one for one in world.bought if self._is_wrong(order, one)] or [NO_CONTRACT]
        wrong.sort(key=lambda one: one in world.claims)
        right = [contract_id for contract_id, owner in world.bought.items() if owner == order.order_id]
        is_over = world.timeline.now_ns - order.lost_time_ns >= SURELY_AFTER_S * 1e9
        try:
            await self._say_wrongly(life, order, self._random.choice([wrong[0], wrong[-1], NO_CONTRACT]))
            now = world.orders[order.order_id]
            if now.state is State.UNKNOWN and is_over and self._random.random() < RIGHTLY:
                await self._say(life, now, right[0] if right else 0)
        except (DeniedError, CallRefusedError, AnswerLostError, JournalError) as error:
            world.note(f"the operator hears {type(error).__name__} about {order.order_id}")

    async def _decide(self, life: Life, order: Order) -> None:
        world, registry = self._world, life.room.orders.registry
        mine = self._left_for(order)
        wrong = [one for one in world.bought if self._is_wrong(order, one)]
        wrong.sort(key=lambda one: one in world.claims)
        try:
            for contract_id in dict.fromkeys(wrong[:1] + wrong[-1:]):
                await self._say_wrongly(life, order, contract_id)
            world.note(f"the operator says that {order.order_id} is {mine}")
            await self._say(life, registry.find(order.order_id) or order, mine[0] if mine else 0)
        except (DeniedError, CallRefusedError, AnswerLostError, JournalError) as error:
            world.note(f"the operator hears {type(error).__name__} about {order.order_id}")

    def _left_for(self, order: Order) -> list[int]:
        """What was bought for an order; if an order like it was given that, what was bought for that one."""
        world = self._world
        mine = [contract_id for contract_id, owner in world.bought.items() if owner == order.order_id]
        takers = {world.claims[one] for one in mine if world.claims.get(one, order.order_id) != order.order_id}
        free = [one for one, owner in world.bought.items() if owner in takers and one not in world.claims]
        return free or mine

    def _is_wrong(self, order: Order, contract_id: int) -> bool:
        """Whether a contract cannot be the order's: another order has it, or it is something else."""
        world = self._world
        owner = world.bought[contract_id]
        terms = world.foreign_trader.terms[contract_id] if owner == FOREIGN else world.plans[owner].terms
        return world.claims.get(contract_id, order.order_id) != order.order_id or terms != order.terms

    async def _say(self, life: Life, order: Order, contract_id: int) -> None:
        asks = (life, contract_id)
        self.asks_about.append(asks)
        try:
            await life.room.orders.resolve(order, contract_id, "operator")
        finally:
            self.asks_about.remove(asks)

    async def _say_wrongly(self, life: Life, order: Order, contract_id: int) -> None:
        try:
            await self._say(life, life.room.orders.registry.find(order.order_id) or order, contract_id)
        except DeniedError:
            return
        self._world.violations.append(f"wrong_word: {contract_id} was taken for {order.order_id}")
