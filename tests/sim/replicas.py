"""The replicas of each bot: they come and go, hold symbols as they believe, and ask in the name of what they hold."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from derivfleet.gateway.account.account import LEASE_LASTS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.gateway_life import GatewayLife
    from tests.sim.plan import OrderPlan
    from tests.sim.world import World

__all__ = ["Replicas"]

NAMES = ("left", "right")
COMES_OR_GOES, COMES_OR_GOES_TIGHT = 0.02, 0.15
"""Each second; the second where orders have to wait meanwhile."""

SLOW_TO_ASK = 0.1
"""How often it is asked in the name of a holding of a while ago, as by a replica that was paused."""


class Replicas:
    """Two of each bot."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(f"replicas/{world.plan.seed}")
        self._often = COMES_OR_GOES_TIGHT if world.plan.is_tight else COMES_OR_GOES
        self._absent: set[str] = set()
        self._epochs: dict[tuple[str, str], dict[str, int]] = {}
        """By bot and replica: what it believes to hold."""
        self._newest: dict[tuple[str, str], int] = {}
        """By bot and symbol: the last epoch that anybody was given."""
        self._once: dict[tuple[str, str], tuple[str, int]] = {}
        """By bot and symbol: a holding of a while ago."""
        self._renewed_ns: dict[tuple[str, str], int] = {}

    def renew(self) -> None:
        """Once a second."""
        life, now_ns = self._world.life, self._world.timeline.now_ns
        if life is None or not life.serving:
            for (bot, name), held in self._epochs.items():
                self._once |= {(bot, symbol): (name, epoch) for symbol, epoch in held.items()}
            self._epochs.clear()
            self._newest.clear()
            self._renewed_ns.clear()
            return
        if life.loop.stands_until_ns > now_ns:
            return
        if self._random.random() < self._often:
            self._absent = set() if self._absent else {self._random.choice(NAMES)}
        for bot, leases in life.room.leases.items():
            for name in NAMES:
                if name in self._absent:
                    continue
                before = self._epochs.get((bot, name), {})
                held = self._epochs[bot, name] = {lease.symbol: lease.epoch for lease in leases.renew(name, now_ns)}
                self._once |= {(bot, one): (name, epoch) for one, epoch in before.items() if held.get(one) != epoch}
                self._renewed_ns[bot, name] = now_ns
                for symbol, epoch in held.items():
                    self._newest[bot, symbol] = max(epoch, self._newest.get((bot, symbol), 0))

    def lease_of(self, life: GatewayLife, plan: OrderPlan) -> tuple[Callable[[], bool], Callable[[], bool]]:
        """In whose name it is asked now: whether the gateway lets that buy, and whether it may, seen from outside.

        A symbol is somebody else's once that one was told so, or once its holder has not renewed for too long.
        """
        bot, symbol = plan.bot, plan.terms.symbol
        leases = life.room.leases[bot]
        holding = [(name, epochs[symbol]) for name in NAMES if symbol in (epochs := self._epochs.get((bot, name), {}))]
        name, epoch = self._random.choice(holding) if holding else (NAMES[0], 0)
        is_lost = False
        if self._random.random() < SLOW_TO_ASK and (bot, symbol) in self._once:
            is_lost = True
            name, epoch = self._once[bot, symbol]
        lasts_ns = round(LEASE_LASTS_S * 1e9)

        def may_buy() -> bool:
            since_ns = self._renewed_ns.get((bot, name), 0)
            is_late = self._world.timeline.now_ns >= since_ns + lasts_ns
            return not (is_late or is_lost) and epoch == self._newest.get((bot, symbol))

        return lambda: leases.allows(name, symbol, epoch, self._world.timeline.now_ns), may_buy
