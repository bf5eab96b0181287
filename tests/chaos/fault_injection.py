"""What goes wrong and when: a seeded choice, so that a run can be had again as far as processes allow."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.common.errors import EXIT_CONFIGURATION
from tests.chaos.proxy import Cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.operator_client import OperatorClient
    from tests.chaos.processes import FleetProcesses
    from tests.chaos.proxy import Proxy

__all__ = ["FaultInjector", "InjectedFault"]

CUTS = {
    Cut.RESET: 28,
    Cut.MID_ANSWER: 22,
    Cut.MID_CALL: 18,
    Cut.CLOSE: 10,
    Cut.SLOW: 10,
    Cut.DRIBBLE: 6,
    Cut.DEAF: 3,
    Cut.SILENT: 3,
}
"""Of a hundred. Silent ones are few because Deriv itself counts a silent socket for two minutes, and allows four."""
KILLS = {"gateway killed": 45, "bot killed": 35, "taken over": 20}
BETWEEN_KILLS = {"gateway paused": 25, "bot paused": 35, "disk full": 40}
"""What happens between two kills."""
CALM_AFTER_SERVED_S = 1.0
"""How long a gateway may work before it is killed again: else the fleet would never trade."""
DISK_FULL_S = (0.1, 1.0)
PAUSE_S = (0.1, 2.0)
LOOK_EVERY_S = 0.05
SLOW_S = (0.02, 0.5)
SILENT_LASTS_S = 12.0
REFUSED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault that was injected; times are those of the fleet."""

    kind: str
    at_ns: int
    until_ns: int
    served_ms: float | None = None
    """From a kill of the gateway to the first call served by the next one, in milliseconds of the wall."""


@dataclass(slots=True)
class FaultInjector:
    """Kills, pauses and cuts. ``bots`` are the processes that may be killed besides the gateway."""

    processes: FleetProcesses
    proxy: Proxy
    operator: OperatorClient
    bots: tuple[str, ...]
    now_ns: Callable[[], int]
    seed: int
    kill_every_s: float = 3.0
    cut_every_s: float = 0.3
    faults: list[InjectedFault] = field(default_factory=list[InjectedFault])
    cuts: dict[str, int] = field(default_factory=dict[str, int])
    cut_ns: list[int] = field(default_factory=list[int])
    kills: int = 0
    refused_seconds: int = 0
    """Second gateways that were refused while the first one was paused."""
    problems: list[str] = field(default_factory=list[str])

    async def kill(self, kills: int) -> None:
        """Kill so many times, and do one thing besides after each."""
        chance = random.Random(f"{self.seed} kills")  # noqa: S311 - a die, no secret
        for number in range(kills):
            await asyncio.sleep(self.kill_every_s * chance.uniform(0.5, 1.0))
            # The first one is always the gateway: a run with two kills should see one of each.
            kind = "gateway killed" if number == 0 else _drawn(chance, KILLS)
            await self._inject(kind, chance)
            if number % 2:
                await asyncio.sleep(chance.uniform(0.2, 0.8))
                await self._inject(_drawn(chance, BETWEEN_KILLS), chance)

    async def cut(self, cuts: int) -> None:
        """Cut so many lines."""
        chance = random.Random(f"{self.seed} cuts")  # noqa: S311 - a die, no secret
        done = 0
        while done < cuts:
            await asyncio.sleep(self.cut_every_s * chance.uniform(0.5, 1.5))
            while not (links := self.proxy.lasting()):  # noqa: ASYNC110 - the gateway comes back when it does
                await asyncio.sleep(LOOK_EVERY_S)
            cut = Cut(_drawn(chance, {str(cut): weight for cut, weight in CUTS.items()}))
            if cut in (Cut.SILENT, Cut.DEAF) and self.proxy.silent():
                cut = Cut.RESET
            lasts_s = SILENT_LASTS_S if cut in (Cut.SILENT, Cut.DEAF) else chance.uniform(0.5, 3.0)
            chance.choice(links).hit(cut, chance.uniform(*SLOW_S), chance.random(), lasts_s)
            self.cuts[cut] = self.cuts.get(cut, 0) + 1
            self.cut_ns.append(self.now_ns())
            done += 1

    async def _inject(self, kind: str, chance: random.Random) -> None:
        at_ns = self.now_ns()
        served_ms: float | None = None
        match kind:
            case "gateway killed":
                served_ms = await self._next_gateway()
            case "taken over":
                served_ms = await self._taken_over()
            case "bot killed":
                bot = chance.choice(self.bots)
                self.processes.kill(bot)
                self.kills += 1
                await self.processes.again(bot)
            case "gateway paused":
                await self._paused("gateway", chance.uniform(*PAUSE_S))
            case "bot paused":
                await self._paused(chance.choice(self.bots), chance.uniform(*PAUSE_S))
            case _:
                self.processes.limit_files("gateway", 0)
                await asyncio.sleep(chance.uniform(*DISK_FULL_S))
                self.processes.limit_files("gateway", None)
        self.faults.append(InjectedFault(kind, at_ns, self.now_ns(), served_ms))

    async def _paused(self, name: str, wall_s: float) -> None:
        self.processes.kill(name, signal.SIGSTOP)
        await asyncio.sleep(wall_s)
        self.processes.kill(name, signal.SIGCONT)

    async def _next_gateway(self) -> float | None:
        since_s = time.monotonic()
        self.processes.kill("gateway")
        self.kills += 1
        await self.processes.again("gateway")
        served_ms = await self.operator.served_after(since_s)
        if served_ms is None:
            self.problems.append("a gateway served nothing within a minute of its predecessor's end")
        await asyncio.sleep(CALM_AFTER_SERVED_S)
        return served_ms

    async def _taken_over(self) -> float | None:
        """A second gateway comes while the first one stands still and holds the journal; then the first one dies."""
        self.processes.kill("gateway", signal.SIGSTOP)
        await self.processes.again("second")
        # The lock on the journal is the first one's for as long as it lives, paused or not.
        self.processes.members["second"].is_stopping = True
        try:
            code = await asyncio.wait_for(asyncio.shield(self.processes.ended("second")), REFUSED_WITHIN_S)
        except TimeoutError:
            self.problems.append("a second gateway ran on though the first one held the journal")
            self.processes.kill("second")
        else:
            if code == EXIT_CONFIGURATION:
                self.refused_seconds += 1
            else:
                self.problems.append(f"a second gateway ended with exit code {code} instead of being refused")
        return await self._next_gateway()


def _drawn(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]
