"""The operator, who decides about orders that are in doubt."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.core.orders.order import Doubt, State
from derivfleet.gateway.journal.store import JournalError
from tests.sim.foreign_trader import FOREIGN

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order
    from tests.sim.gateway_life import GatewayLife
    from tests.sim.world import World

__all__ = ["Operator"]

PATIENCE_S = 40.0
"""How long the operator leaves a doubt to the records."""
TRIES_EVERY_S = 15.0
MEDDLES = 0.05
"""How often each second the operator says something about an order that is none of their business yet."""
RIGHTLY = 0.3
SURELY_AFTER_S = 6.0
"""So long after its loss no frame of an order is on its way any more."""
NO_CONTRACT = 999_999


class Operator:
    """Decides about orders that the records will not decide: first wrongly, as people do, then by what Deriv shows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen_ns: dict[str, int] = {}
        self._tried_ns: dict[str, int] = {}
        self.asks_about: list[tuple[GatewayLife, int]] = []
        """Contracts that a gateway looks at for a person just now; what it sees there decides about nothing else."""
        self._random = random.Random(f"operator/{world.plan.seed}")

    def look(self, life: GatewayLife) -> None:
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

    async def _meddle(self, life: GatewayLife) -> None:
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

    async def _decide(self, life: GatewayLife, order: Order) -> None:
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

    async def _say(self, life: GatewayLife, order: Order, contract_id: int) -> None:
        asks = (life, contract_id)
        self.asks_about.append(asks)
        try:
            await life.room.orders.resolve(order, contract_id, "operator")
        finally:
            self.asks_about.remove(asks)

    async def _say_wrongly(self, life: GatewayLife, order: Order, contract_id: int) -> None:
        try:
            await self._say(life, life.room.orders.registry.find(order.order_id) or order, contract_id)
        except DeniedError:
            return
        self._world.violations.append(f"wrong_word: {contract_id} was taken for {order.order_id}")
