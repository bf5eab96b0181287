"""Those who follow the order feed: one reads everything, one for each bot, each where it was when a gateway died."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import aclosing
from typing import TYPE_CHECKING

from derivfleet.gateway.journal.feed import EVERYBODY
from tests.sim.plan import BOTS
from tests.sim.virtual_time import NS_PER_S

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order
    from tests.sim.gateway_life import GatewayLife
    from tests.sim.world import World

    Fact = tuple[str, str, str, int, tuple[str, ...]]

__all__ = ["FeedFollowers"]

NAMES = (EVERYBODY, *BOTS)
LATEST_S = 5
"""What the disk does not take is told once it does."""


class FeedFollowers:
    """Each is told every transition that is for it, once and in order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._facts: defaultdict[str, list[Fact]] = defaultdict(list)
        """By reader: what there is to tell."""
        self._since_ns: defaultdict[str, list[int]] = defaultdict(list)
        """Since when there is that."""
        self._told: Counter[str] = Counter()
        self._positions: Counter[str] = Counter()

    def committed(self, order: Order) -> None:
        """The journal holds a transition."""
        for name in (EVERYBODY, order.bot):
            self._facts[name].append(_fact(order))
            self._since_ns[name].append(self._world.timeline.now_ns)

    def begin(self, life: GatewayLife) -> None:
        """A gateway has started: they go on where they were."""
        for name in NAMES:
            life.loop.create_task(self._follow(life, name))

    async def _follow(self, life: GatewayLife, name: str) -> None:
        async with aclosing(life.feed.follow(life.room.key, self._positions[name], name)) as events:
            async for event in events:
                if event is None:
                    continue
                facts, place = self._facts[name], self._told[name]
                self._told[name] += 1
                self._positions[name] = event.position
                if place >= len(facts) or facts[place] != _fact(event.order):
                    due = facts[place] if place < len(facts) else "nothing"
                    self._wrong(name, f"{_fact(event.order)}, and not {due}")
                    return

    def judge(self) -> None:
        """All is over: each has been told all."""
        for name in NAMES:
            since_ns, told = self._since_ns[name], self._told[name]
            if told < len(since_ns) and self._world.timeline.now_ns - since_ns[told] > LATEST_S * NS_PER_S:
                self._wrong(name, f"nothing after {told} of {len(since_ns)} transitions")

    def _wrong(self, name: str, what: str) -> None:
        self._world.violations.append(f"untold: who follows the orders of {name or 'all'} is told {what}")


def _fact(order: Order) -> Fact:
    exits = tuple(f"{one.exit_id} {one.state}" for one in order.exits)
    return order.order_id, order.state, order.doubt, order.contract_id, exits
