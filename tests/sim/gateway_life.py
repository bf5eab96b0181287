"""One life of the gateway: its own loop, its own memory, and a death that cleans nothing up."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

from derivfleet.common.fleet import Fleet
from derivfleet.gateway.account.account import AccountRoom
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.sqlite import SqliteStore
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.settings import GatewaySettings
from tests.sim.network import SimulatedLogin
from tests.sim.plan import BOTS, SYMBOLS, TIGHT_BUYS_A_MINUTE
from tests.sim.virtual_time import NS_PER_S, Loop

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.core.quota import Block
    from derivfleet.gateway.journal.store import Step
    from tests.sim.plan import CrashPlan
    from tests.sim.virtual_time import Timeline
    from tests.sim.world import World

__all__ = ["Crash", "GatewayLife"]

PLENTY = {60: 2_400, 3600: 24_000}
TIGHT = {60: TIGHT_BUYS_A_MINUTE, 3600: 24_000}


def _fleet(trade: dict[int, int]) -> Fleet:
    windows = {"trade": trade, "money": PLENTY, "lists": PLENTY, "other": PLENTY}
    return Fleet.model_validate(
        {
            "fleet": "sim",
            "accounts": [{"key": "demo", "limits": {"windows": windows}}],
            "bots": [{"name": name, "strategy": "digit_frequency", "symbols": SYMBOLS, "replicas": 2} for name in BOTS],
        }
    )


FLEETS = {False: _fleet(PLENTY), True: _fleet(TIGHT)}
"""By whether orders have to wait for their turns."""
SETTINGS = GatewaySettings.model_validate(
    {
        "fleet": "fleet.yaml",
        "journal": "journal.sqlite",
        "tokens": "tokens",
        "DERIV_TOKEN": "token-of-sim",
        "DERIV_APP_ID": "app",
    }
)
NAMES = {
    State.INTENDED: "intended is",
    State.SENT: "sent is",
    State.SETTLED: "an end is",
    State.NOT_FOUND: "an end is",
    State.DENIED: "an end is",
}


def _what(order: Order) -> str:
    return NAMES.get(order.state, "an outcome is")


class Crash(SystemExit):
    """The process is gone. It is of this kind because asyncio lets only such pass through tasks and callbacks."""


class Disk(SqliteStore):
    """The journal's file, on a disk that may be full for a while."""

    def __init__(self, path: Path, timeline: Timeline) -> None:
        super().__init__(path, "JOURNAL")
        self._timeline = timeline
        self._full_until_ns = 0
        self._full_for_s = 0.0
        self._room = -1

    def fill(self, room: int, for_s: float) -> None:
        """Let it take so many more commits, and none after these for a while."""
        self._room, self._full_for_s = room, for_s

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        if self._room == 0:
            self._full_until_ns = self._timeline.now_ns + round(self._full_for_s * NS_PER_S)
        if self._room >= 0:
            self._room -= 1
        if self._timeline.now_ns < self._full_until_ns:
            raise JournalError("the order journal cannot be written: the disk is full")
        super().commit(steps, durable=durable)


class WatchedJournal(Journal):
    """The journal, with places to die at around every commit."""

    def __init__(self, path: Path, life: GatewayLife) -> None:
        self.disk = Disk(path, life.world.timeline)
        super().__init__(path, "JOURNAL", store=self.disk)
        self._life = life
        self._written: list[Order] = []

    def write(self, order: Order, time_ns: int) -> None:
        self._life.point(f"before {_what(order)} committed")
        super().write(order, time_ns)
        self._written.append(order)
        if not self._gathers:
            self._tell_written()

    @contextmanager
    def together(self) -> Generator[None]:
        with super().together():
            yield
        self._tell_written()

    def _tell_written(self) -> None:
        written, self._written = self._written, []
        for order in written:
            self._life.world.committed(order)
        for order in written:
            self._life.point(f"after {_what(order)} committed")

    def write_blocks(self, account: str, blocks: Iterable[Block]) -> None:
        self._life.check_alive()
        super().write_blocks(account, blocks)

    def drop(self) -> None:
        """Let go of the file as a process does that dies: nothing more is written."""
        self._store.close()


class GatewayLife:
    """A gateway from its start to its end."""

    def __init__(self, world: World, path: Path, death: CrashPlan | None) -> None:
        self.world = world
        self.dead = False
        self.serving = False
        self.loop = Loop(world.timeline)
        self._death = death
        self._left = death.countdown if death else 0
        clock = world.clock
        self.journal = WatchedJournal(path, self)
        login = SimulatedLogin(self, world.network, clock)
        fleet = FLEETS[world.plan.is_tight]
        self.feed = Feed(self.journal)
        self.room = AccountRoom(fleet.accounts[0], fleet, SETTINGS, clock, world.telemetry, self.feed, login)

    def run(self) -> None:
        """Live until the world ends. Raises Crash as planned, ConfigurationError if Deriv refuses the token."""
        self.room.recover()
        self.world.invariants.recovered(self.room.orders.registry)
        self.world.feed_followers.begin(self)
        start = self.loop.create_task(self._start())
        start.add_done_callback(self._started)
        self.loop.run_forever()
        start.result()

    async def _start(self) -> None:
        await self.room.start()
        await self.room.entered()

    def _started(self, start: asyncio.Task[None]) -> None:
        self.serving = start.exception() is None
        if not self.serving:
            self.loop.stop()

    def point(self, name: str) -> None:
        """The gateway has come to a point where it may die, if the journal holds what it has told."""
        self.check_alive()
        if (
            not self.journal.unwritten
            and self._death is not None
            and self._death.point == name
            and self.world.ms >= self._death.from_ms
        ):
            self._left -= 1
            if self._left == 0:
                self.die()
                self.world.crashed(name)
                raise Crash(name)

    def fill_disk(self, room: int, for_s: float) -> None:
        """Soon nothing can be written down, for a while."""
        self.world.note(f"the disk is full after {room} commits, for {for_s:.3f} s")
        self.journal.disk.fill(room, for_s)

    def keep_journal(self) -> None:
        """As the journal's keeper does each second."""
        with suppress(JournalError):
            self.journal.retry()

    def check_alive(self) -> None:
        """Raise Crash in what is left of a dead gateway: it has no effects any more."""
        if self.dead:
            raise Crash

    def die(self) -> None:
        """All at once: no task runs on, nothing is said goodbye to, what was not committed is lost."""
        self.dead, self.serving = True, False
        self.journal.drop()
        self.world.network.drop_all(self)

    def bury(self) -> None:
        """End what is left, so that it does not end at some other time. It can do nothing to the world."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            with suppress(BaseException), catch_warnings():
                simplefilter("ignore", RuntimeWarning)
                coroutine.close()
        self.loop.close()

    def end(self) -> None:
        """The run is over."""
        self.die()
        self.bury()
