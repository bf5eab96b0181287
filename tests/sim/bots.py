"""Those who ask: an order's bot asks, gives up waiting, asks again with the same id, and keeps what it was told."""

from __future__ import annotations

import asyncio
import random
from contextvars import copy_context
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.denials import DeniedError, OrderDiffers, OrderDoubtful
from derivfleet.gateway.core.orders.exit import DECIDED, ExitKind, ExitState, ExitTerms, exit_of
from derivfleet.gateway.core.orders.order import FINAL, State
from tests.sim.network import ASKED_FOR, EXIT, LEASE, MAY_BUY
from tests.sim.plan import BOTS, SYMBOLS

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.denials import Denial
    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from tests.sim.plan import OrderPlan
    from tests.sim.world import World

__all__ = ["SimulatedBot"]

DEADLINE_S = 30.0
RETRY_S = 1.0
MOST_ASKS = 60
LOOK_S = 9.0
ANOTHER_SALE = 0.7
"""How often a bot whose sale has failed tries another one."""
IMPATIENT = 0.1
"""How often it does that though it cannot know."""


class SimulatedBot:
    """One order from its bot's side."""

    def __init__(self, plan: OrderPlan, world: World) -> None:
        self.plan = plan
        self.told: list[tuple[str, int]] = []
        """Each answer: the state, and the contract if there is one."""
        self.started = False
        self.done = False
        """Whether it will not ask again."""
        self.gave_up = False
        """Whether its order was never taken."""
        self.wrongly_accepted = False
        """Whether another body was taken for the same order."""
        self._world = world
        self._asks = 0
        self.told_exits: dict[str, ExitState] = {}
        """The last answer about each exit that it has asked for."""
        self._sold = False
        self._heard_end = False
        self._random = random.Random(f"bot/{world.plan.seed}/{plan.order_id}")
        self._is_waiting = False
        self._visit: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Ask for the order, if the gateway serves."""
        self.started = True
        if self.done or (self._visit is not None and not self._visit.done()):
            return
        life = self._world.life
        if life is None or not life.serving:
            self._later(RETRY_S)
            return
        self._asks += 1
        if self._asks > MOST_ASKS:
            self.done = True
            self.gave_up = not self.told
            return
        self._world.note(f"bot asks for {self.plan.order_id}")
        context = copy_context()
        context.run(ASKED_FOR.set, self.plan.order_id)
        lease, may_buy = self._world.replicas.lease_of(life, self.plan)
        context.run(LEASE.set, lease)
        context.run(MAY_BUY.set, may_buy)
        visit = self._visit = life.loop.create_task(self._asked(), context=context)
        if self.plan.asks_otherwise:
            life.loop.create_task(self._asked_otherwise(), context=context)
        patience_s = self.plan.gives_up_after_s
        if patience_s is not None and self._asks == 1:
            self._world.timeline.after(patience_s, lambda: self._give_up(visit))

    def cut_off(self) -> None:
        """The gateway has died: nothing that was asked will be answered."""
        if self._visit is not None:
            self._visit = None
            if not self.done:
                self._later(RETRY_S)

    def _later(self, seconds: float) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._world.timeline.after(seconds * self._random.uniform(0.2, 2), self._again)

    def _again(self) -> None:
        self._is_waiting = False
        self.ask()

    def _give_up(self, visit: asyncio.Task[None]) -> None:
        if self._visit is visit and not visit.done():
            self._world.note(f"bot gives up waiting for {self.plan.order_id}")
            visit.cancel()
            self._visit = None
            self._later(self.plan.asks_again_after_s)

    async def _asked(self) -> None:
        life, plan = self._world.life, self.plan
        assert life is not None
        deadline_ns = self._world.timeline.now_ns + round(DEADLINE_S * 1e9)
        try:
            order, _ = await life.room.orders.purchases.buy(
                plan.bot, plan.order_id, plan.terms, deadline_ns, "", LEASE.get()
            )
        except DeniedError as error:
            if isinstance(error.denial, OrderDoubtful):
                self._world.invariants.refused(plan, error.denial.doubtful)
            self._refused(error.denial)
            return
        self._hear(order)
        if order.state is State.CONFIRMED and plan.sell_after_s is not None and not self._sold:
            self._sold = True
            for after_s in (0.0, *plan.sells_again_after_s):
                self._world.timeline.after(plan.sell_after_s + after_s, self._sell)

    def _refused(self, denial: Denial) -> None:
        """Its order was not taken: so nobody may know of it."""
        name, what = self.plan.order_id, denial.code
        self._world.note(f"bot hears {what} about {name}")
        if name in self._world.orders:
            self._world.violations.append(f"two_answers: {name} is known, and its bot hears {what}")
        self._later(RETRY_S)

    def _hear(self, order: Order) -> None:
        self._world.note(f"bot is told that {order.order_id} is {order.state}, contract {order.contract_id}")
        self._world.invariants.told(order)
        self.told.append((order.state, order.contract_id))
        if order.state not in FINAL:
            self._later(LOOK_S)
        elif not self._heard_end:
            self._heard_end = True
            self._later(self.plan.asks_again_after_s)
        else:
            self.done = True
            self._world.order_done(self.plan.order_id)

    async def _asked_otherwise(self) -> None:
        """The same id with something else: to be refused whenever the order is known, and told what differs."""
        life, plan = self._world.life, self.plan
        assert life is not None
        field, bot, terms = self._otherwise()
        await asyncio.sleep(0.01)
        if life.room.orders.registry.find(plan.order_id) is None:
            return
        deadline_ns = self._world.timeline.now_ns + round(DEADLINE_S * 1e9)
        try:
            await life.room.orders.purchases.buy(bot, plan.order_id, terms, deadline_ns, "", LEASE.get())
        except DeniedError as error:
            if isinstance(error.denial, OrderDiffers):
                self.wrongly_accepted = self.wrongly_accepted or error.denial.field != field
            return
        self.wrongly_accepted = True
        self._world.note(f"another body was taken for {plan.order_id}")

    def _otherwise(self) -> tuple[str, str, OrderTerms]:
        """The field that differs, the bot that asks, and for what."""
        bot, terms = self.plan.bot, self.plan.terms
        match self.plan.number % 6:
            case 0:
                return "bot", next(one for one in BOTS if one != bot), terms
            case 1:
                return "symbol", bot, replace(terms, symbol=next(one for one in SYMBOLS if one != terms.symbol))
            case 2:
                return "duration", bot, replace(terms, duration=terms.duration + 1)
            case 3:
                return "barrier", bot, replace(terms, barrier=f"{terms.barrier}0")
            case 4:
                sort = ("CALL", "PUT", "CALL") if not terms.barrier else ("DIGITOVER", "DIGITUNDER", "DIGITOVER")
                other = sort[sort.index(terms.contract_type) + 1] if terms.contract_type in sort else sort[0]
                return "contract_type", bot, replace(terms, contract_type=other)
            case _:
                return "stake", bot, replace(terms, stake=terms.stake + Decimal("0.01"))

    def _sell(self) -> None:
        """Ask for a sale: for the same one again as long as it is not known to have failed, and sometimes then too."""
        life = self._world.life
        if life is None or not life.serving:
            return
        order = life.room.orders.registry.find(self.plan.order_id)
        if order is None or order.state not in (State.CONFIRMED, State.SETTLED):
            return
        last = next(reversed(self.told_exits), "out-1")
        has_failed = self.told_exits.get(last) in DECIDED - {ExitState.DONE}
        is_new = (has_failed and self._random.random() < ANOTHER_SALE) or self._random.random() < IMPATIENT
        exit_id = f"out-{len(self.told_exits) + 1}" if is_new else last
        self.told_exits.setdefault(exit_id, ExitState.INTENDED)
        self._world.note(f"bot sells {self.plan.order_id} as {exit_id}")
        context = copy_context()
        context.run(ASKED_FOR.set, self.plan.order_id)
        context.run(EXIT.set, exit_id)
        life.loop.create_task(self._selling(order, exit_id), context=context)

    async def _selling(self, order: Order, exit_id: str) -> None:
        life = self._world.life
        assert life is not None
        exits, terms = life.room.orders.exits, ExitTerms(ExitKind.SELL)
        deadline_ns = self._world.timeline.now_ns + round(DEADLINE_S * 1e9)
        try:
            _, told = await exits.carry_out(order, exit_id, terms, deadline_ns, "")
        except DeniedError as error:
            what = f"{error.denial.code} about selling {order.order_id}"
            self._world.note(f"bot hears {what}")
            if exit_of(self._world.orders[order.order_id].exits, exit_id) is not None:
                self._world.violations.append(f"two_answers: sale {exit_id} is known, and its bot hears {what}")
            return
        self._world.note(f"bot is told that sale {exit_id} of {order.order_id} is {told.state}")
        self.told_exits[exit_id] = told.state
        self._world.invariants.told_of_sale(order.order_id, told)
        if self.plan.asks_otherwise:
            await self._sold_otherwise(order, exit_id, deadline_ns)

    async def _sold_otherwise(self, order: Order, exit_id: str, deadline_ns: int) -> None:
        """The same id with another price: to be refused."""
        life = self._world.life
        assert life is not None
        terms = ExitTerms(ExitKind.SELL, Decimal("0.01"))
        try:
            await life.room.orders.exits.carry_out(order, exit_id, terms, deadline_ns, "")
        except DeniedError:
            return
        self.wrongly_accepted = True
