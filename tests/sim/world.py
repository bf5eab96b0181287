"""One run: bots, network, exchange and one gateway after the other, on one timeline."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.telemetry import Telemetry
from derivfleet.gateway.core.orders.order import FINAL, State
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.reconciling import records as lists
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings
from tests.sim.bots import SimulatedBot
from tests.sim.feed_followers import FeedFollowers
from tests.sim.foreign_trader import FOREIGN, ForeignTrader
from tests.sim.gateway_life import Crash, GatewayLife
from tests.sim.human_operator import Operator
from tests.sim.invariants import Invariants
from tests.sim.liveness import Liveness
from tests.sim.network import MAY_BUY, Network
from tests.sim.observed_reads import ObservedReads
from tests.sim.plan import CLOCK_SKEW, DETOUR, HIDDEN, IDLE_CLOSE, SEVERED, STANDSTILL
from tests.sim.replicas import Replicas
from tests.sim.virtual_time import NS_PER_S, START_NS, Timeline, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Generator

    from derivfleet.gateway.core.orders.order import Order
    from tests.sim.network import SimulatedSocket
    from tests.sim.plan import Disturbance, Plan

__all__ = ["World"]

PATIENCE_S = 420.0
"""For all to end, after the last order was asked for; longer if the records tell late."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a name that nobody can guess is made in it
RESTART_S = 1.0
SOON_S = 0.25
"""What the gateway has read it acts upon in the same moment; this is more than that."""
SMALL_DISKS, FULL_DISK = 0.2, 0.05
"""Runs whose disk is full now and then, and how often each second that begins."""
SHORT_PAGES, SHORT_PAGE = 0.2, 16
"""Runs in which a statement often has more than one page, and the rows of one."""
IDLE_S, USUAL_IDLE_S = 2.0, 120.0
PLENTY = {"trade": {60: 1_000_000, 3600: 1_000_000}, "money": {60: 1_000_000, 3600: 1_000_000}}


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, *, with_story: bool = False) -> None:
        self.plan = plan
        self.timeline = Timeline()
        self.clock = VirtualClock(self.timeline)
        self.telemetry = Telemetry("gateway", self.clock)
        settings = SimulatorSettings.model_validate(
            {
                "limits": {"options": {**PLENTY, "lists": PLENTY["trade"], "other": PLENTY["trade"]}},
                "clock_skew_s": plan.skew_s,
                "start_balance": "1000000.00",
            }
        )
        self.exchange = Exchange(f"sim/{plan.seed}", Credentials("token-of-sim", "app"), settings, START_NS // NS_PER_S)
        self.network = Network(self)
        self.life: GatewayLife | None = None
        self.bots = {order.order_id: SimulatedBot(order, self) for order in plan.orders}
        self.orders: dict[str, Order] = {}
        """Each order as it was committed last."""
        self.moved_ns: dict[str, int] = {}
        """When that was."""
        self.bought: dict[int, str] = {}
        """For whose order each contract was bought."""
        self.misnamed: dict[int, str] = {}
        """For which order a receipt has named each contract that does not exist."""
        self.hits: dict[str, set[str]] = defaultdict(set)
        """What has gone wrong in the story of each order."""
        self.crashes: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()
        self.violations: list[str] = []
        self.invariants, self.reads, self.replicas = Invariants(self), ObservedReads(self), Replicas(self)
        self.liveness, self.feed_followers = Liveness(self), FeedFollowers(self)
        self.foreign_trader, self.operator = ForeignTrader(self), Operator(self)
        self.story: list[str] | None = [] if with_story else None
        self.is_over = False
        self.plans = {order.order_id: order for order in plan.orders}
        self._deaths = list(plan.crashes)
        self._spent: set[tuple[str, str]] = set()
        self._running: set[str] = set()
        self._end_ns = START_NS
        self._random = random.Random(f"world/{plan.seed}")
        disk = random.Random(f"disk/{plan.seed}")
        self._disk_random = disk if disk.random() < SMALL_DISKS else None
        self._hidden_until_ns = 0
        self._sales_heard: set[int] = set()
        """By the gateway that lives."""
        self.claims: dict[int, str] = {}
        """Which order has which contract, by the journal."""

    # The run

    def run(self) -> World:
        """Play the plan to its end."""
        random.seed(f"global/{self.plan.seed}")
        for order in self.plan.orders:
            asker = self.bots[order.order_id]
            self.timeline.at(START_NS + order.at_ms * 1_000_000, lambda asker=asker: self._begin(asker))
        for disturbance in self.plan.disturbances:
            self.timeline.at(
                START_NS + disturbance.at_ms * 1_000_000, lambda disturbance=disturbance: self._disturb(disturbance)
            )
        last_ms = max((order.at_ms for order in self.plan.orders), default=0)
        patience_s = PATIENCE_S + self.plan.lag_s
        self._end_ns = START_NS + last_ms * 1_000_000 + round(patience_s * NS_PER_S)
        self._every_second()
        rows = SHORT_PAGE if random.Random(f"pages/{self.plan.seed}").random() < SHORT_PAGES else lists.STATEMENT_ROWS
        where = tempfile.TemporaryDirectory(prefix="sim", dir=MEMORY if MEMORY.is_dir() else None)
        with where as folder, patch.object(lists, "STATEMENT_ROWS", rows):
            self._path = Path(folder) / "journal.sqlite"
            self._live()
        return self

    def _live(self) -> None:
        while not self.is_over:
            death = self._deaths.pop(0) if self._deaths else None
            life = self.life = GatewayLife(self, self._path, death)
            self.note("a gateway starts")
            self.reads.disturbed()
            self.liveness.begin()
            down_s = RESTART_S if death is None else death.down_s
            try:
                life.run()
            except Crash:
                self.foreign_trader.remember(life)
                life.bury()
            except ConfigurationError as error:
                self.note(f"the gateway ends: {error}")
                life.end()
                down_s = RESTART_S
                if death is not None:
                    self._deaths.insert(0, death)
            else:
                self.feed_followers.judge()
                life.end()
                return
            self.life = None
            self._sales_heard.clear()
            self.reads.forget()
            for asker in self.bots.values():
                asker.cut_off()
            back_ns = self.timeline.now_ns + round(down_s * NS_PER_S)
            while self.timeline.now_ns < back_ns:
                self.timeline.step(back_ns)

    def _begin(self, asker: SimulatedBot) -> None:
        self._running.add(asker.plan.order_id)
        if self.plan.skew_s:
            self.hit(asker.plan.order_id, CLOCK_SKEW)
        asker.ask()

    def _every_second(self) -> None:
        now_ns = self.timeline.now_ns
        self.network.carry_out(self.exchange.advance(now_ns // NS_PER_S))
        self.replicas.renew()
        self.liveness.look()
        if self.life is not None and self.life.serving:
            self.operator.look(self.life)
            self._look_after_disk(self.life)
        if now_ns >= self._end_ns or self._all_ended():
            self.is_over = True
            if self.life is not None:
                self.life.loop.stop()
            return
        self.timeline.at((now_ns // NS_PER_S + 1) * NS_PER_S, self._every_second)

    def _look_after_disk(self, life: GatewayLife) -> None:
        if self._disk_random is not None and self._disk_random.random() < FULL_DISK:
            life.fill_disk(self._disk_random.randint(0, 3), self._disk_random.uniform(0.2, 3))
        life.keep_journal()

    def _all_ended(self) -> bool:
        return (
            all(asker.done for asker in self.bots.values())
            and all(order.state in FINAL for order in self.orders.values())
            and not self.exchange.options_account.open
            and all(one in self.claims or owner == FOREIGN for one, owner in self.bought.items())
        )

    # What goes wrong

    def _disturb(self, disturbance: Disturbance) -> None:
        self.note(f"{disturbance.kind} for {disturbance.lasts_s} s")
        self.hit_all(disturbance.kind)
        if disturbance.kind == STANDSTILL and self.life is not None:
            self.life.loop.stands_until_ns = self.timeline.now_ns + round(disturbance.lasts_s * NS_PER_S)
            self.timeline.after(disturbance.lasts_s / 2, self._take_over)
        if disturbance.kind == IDLE_CLOSE:
            self._close_idle(IDLE_S)
            self.timeline.after(disturbance.lasts_s, lambda: self._close_idle(USUAL_IDLE_S))
        if disturbance.terms is not None:
            self.foreign_trader.buy(disturbance.terms)
        if disturbance.kind == HIDDEN:
            self._hidden_until_ns = self.timeline.now_ns + round(disturbance.lasts_s * NS_PER_S)
        for rule in disturbance.rules:
            self.exchange.faults.add(rule if rule.lasts_s else replace(rule, lasts_s=disturbance.lasts_s))

    def _close_idle(self, after_s: float) -> None:
        """From now on the exchange closes sockets that are idle for so long."""
        self.exchange.settings = self.exchange.settings.model_copy(update={"idle_close_s": after_s})

    def _take_over(self) -> None:
        """Another gateway tries to start on the journal of one that lives, even if that stands still."""
        if self.life is None:
            return
        try:
            Journal(self._path, "JOURNAL").close()
        except ConfigurationError:
            return
        self.violations.append("two_owners: two gateways had the journal open")

    def hit(self, order_id: str, kind: str) -> None:
        """Something went wrong in the story of an order."""
        self.hits[order_id].add(kind)

    def hit_all(self, kind: str) -> None:
        """Something went wrong for all orders whose story goes on."""
        for order_id in self._running:
            self.hits[order_id].add(kind)

    def order_done(self, order_id: str) -> None:
        """Its story is over."""
        self._running.discard(order_id)

    def crashed(self, point: str) -> None:
        """The gateway has died at a point."""
        self.note(f"the gateway dies {point}")
        self.crashes[point] += 1
        for order_id in self._running:
            for kind in self.hits[order_id]:
                self.pairs[f"{kind} × {point}"] += 1

    def is_hidden(self, text: str) -> bool:
        """Whether the transaction stream keeps this to itself."""
        return self.timeline.now_ns < self._hidden_until_ns and '"action":"' in text and '"transaction":{' in text

    def is_planned(self, kind: str, text: str, order_id: str) -> bool:
        """Whether that is to go wrong with this frame."""
        plan = self.plans.get(order_id)
        if plan is None:
            return False
        is_sale = text.startswith('{"sell"')
        return (plan.sell_kind if is_sale else plan.kind) == kind and (is_sale or text.startswith('{"buy"'))

    def detour_s(self, text: str, order_id: str) -> float:
        """How much longer a frame is on its way than others: it may outlive the gateway that sent it."""
        if self.is_planned(DETOUR, text, order_id):
            return self._random.uniform(0.3, 0.9)
        if self.is_planned(SEVERED, text, order_id):
            # A contract shows whether it was sold only when no sale can arrive any more.
            return self._random.uniform(0.3, 0.9 if text.startswith('{"buy"') else 4.5)
        return 0.0

    @contextmanager
    def fault_for(self, wire: SimulatedSocket, text: str, order_id: str) -> Generator[str]:
        """What is planned to go wrong with this frame: its kind."""
        plan = self.plans.get(order_id)
        kind, rule, call = "", None, ""
        if plan is not None and '"buy"' in text:
            kind, rule, call = plan.kind, plan.fault, "buy"
        elif plan is not None and '"sell"' in text:
            kind, rule, call = plan.sell_kind, plan.sell_fault, "sell"
        if rule is None or (order_id, call) in self._spent:
            self.note(f"{order_id} {call} arrives on {wire.number}" if order_id else "")
            yield ""
            return
        self._spent.add((order_id, call))
        self.hit(order_id, kind)
        self.note(f"{order_id} {call} arrives on {wire.number}: {kind}")
        number = self.exchange.faults.add(rule)
        try:
            yield kind
        finally:
            self.exchange.faults.remove(number)

    # What happens

    @property
    def ms(self) -> int:
        """The time since the start."""
        return (self.timeline.now_ns - START_NS) // 1_000_000

    def note(self, text: str) -> None:
        """Tell it in the story, if one is wanted."""
        if self.story is not None and text:
            self.story.append(f"{(self.timeline.now_ns - START_NS) / 1e9:12.6f}  {text}")

    def frame_left(self, text: str, order_id: str, exit_id: str) -> None:
        """A frame for an order was handed to a socket."""
        self.note(f"a frame for {order_id} is handed over: {text}")
        if text.startswith('{"buy"') and not MAY_BUY.get()():
            self.violations.append(f"stale_sends: {order_id} was sent for a replica that had lost the symbol")
        self.invariants.frame_left(text, order_id, exit_id)

    def executed(self, text: str, order_id: str, exit_id: str) -> None:
        """The exchange has worked on a frame."""
        contracts = self.exchange.options_account.contracts
        while len(self.bought) < len(contracts):
            contract_id = list(contracts)[len(self.bought)]
            self.bought[contract_id] = order_id
            self.note(f"bought for {order_id}: contract {contract_id}")
        self.invariants.executed(text, order_id, exit_id)

    def committed(self, order: Order) -> None:
        """The journal holds a transition."""
        self.note(f"{order.order_id} is {order.state} in the journal")
        before = self.orders.get(order.order_id)
        if before is not None and before.state is State.SETTLED and _exits_of(before) == _exits_of(order):
            self.violations.append(f"wrong_profit: {order.order_id} is {order.state} after it was settled")
        self.invariants.committed(before, order)
        self.feed_followers.committed(order)
        self.orders[order.order_id] = order
        self.moved_ns[order.order_id] = self.timeline.now_ns
        if order.contract_id:
            self.claims[order.contract_id] = order.order_id
        if order.state is State.CONFIRMED and order.contract_id in self._sales_heard and self.life is not None:
            self._expect_settled(self.life, order.contract_id)

    def heard(self, life: GatewayLife, number: int, text: str) -> None:
        """The gateway has read a frame: a receipt must be believed, and a sale settle its order."""
        frame: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
        if not isinstance(frame.get("error", {}), dict):
            frame["error"] = {}
        self.reads.heard(number, frame)
        self.liveness.heard(life, number, frame)
        if frame.get("msg_type") == "buy" and frame.get("buy"):
            contract_id: int = frame["buy"]["contract_id"]
            self.timeline.after(
                SOON_S, lambda: self._expect(life, contract_id in self.claims, f"receipt of {contract_id}")
            )
        movement: dict[str, Any] = frame.get("transaction", {})
        if movement.get("action") == "buy":
            self.foreign_trader.heard(life, movement["contract_id"])
        if movement.get("action") == "sell":
            self._sales_heard.add(movement["contract_id"])
            self._expect_settled(life, movement["contract_id"])

    def _expect_settled(self, life: GatewayLife, contract_id: int) -> None:
        def check() -> None:
            order = self.orders.get(self.claims.get(contract_id, ""))
            self._expect(life, order is None or order.state is State.SETTLED, f"sale of {contract_id}")

        self.timeline.after(SOON_S, check)

    def _expect(self, life: GatewayLife, is_so: bool, what: str) -> None:
        if not is_so and self.life is life and life.loop.stands_until_ns <= self.timeline.now_ns - round(SOON_S * 1e9):
            self.violations.append(f"ignored_news: the gateway has read the {what}, and did nothing about it")


def _exits_of(order: Order) -> object:
    """What was done to its contract, if an order remembers that: it may become known after the end."""
    return getattr(order, "exits", None)
