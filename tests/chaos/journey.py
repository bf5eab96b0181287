"""One whole run: up, storm, calm, verdict, down."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from derivfleet.cli.client import is_serving
from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.identity import read_token
from tests.chaos.callers import CONFIRMED, FINAL, Caller, Feed, open_line, stakes
from tests.chaos.crew import Crew
from tests.chaos.field import READY_WALL_S, answers, fetch, field_of, until
from tests.chaos.judge import Verdict, contracts_of, first_orders_ms, judge, spread, waits_of
from tests.chaos.proxy import proxied
from tests.chaos.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from derivfleet.cli.environments import Plan
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["Journey", "Look", "Report"]

CALM_WALL_S = 90.0
"""How long, after the last blow, every order may take to come to its end."""
CALM_S = 1.0
"""How long the callers go on when nothing is wrong any more."""
CALLER_PAUSE_S = 0.2
BOT, CALLER = "bot-", "caller-"
SYMBOLS = ("1HZ100V", "1HZ75V", "R_100", "1HZ50V")


@dataclass(frozen=True, slots=True)
class Look:
    """How a run stands."""

    stage: str
    kills: int = 0
    cuts: int = 0
    transitions: int = 0
    """Of orders, as the feed told them."""
    served: int = 0
    """Gateways that took over."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is written down, and whether all of it is as it must be."""

    facts: dict[str, Any]
    problems: list[str]


@dataclass(slots=True)
class _Scene:
    """Who takes part in a run, and what comes of it."""

    plan: Plan
    crew: Crew
    feed: Feed
    callers: list[Caller]
    storm: Storm
    clock: FleetClock
    storm_ns: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    alive: list[str] = field(default_factory=list[str])
    killed: list[str] = field(default_factory=list[str])
    refused_for_rate: int = 0
    resolved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Journey:
    """How a run is set up."""

    kills: int
    cuts: int
    seed: int
    speed: float
    bots: int
    callers: int
    kill_every_s: float
    cut_every_s: float
    dialect: Dialect
    folder: Path
    show: Callable[[Look], None]

    async def run(self) -> Report:
        """Carry it out. Raises TimeoutError if the fleet does not come up or buys nothing."""
        began_s = time.monotonic()
        fleet = self._fleet()
        plan = field_of(self.folder, fleet, self.dialect, self.speed, str(self.seed))
        crew = Crew(plan)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(crew.stop)
            self.show(Look("starting"))
            proxy = await stack.enter_async_context(proxied(plan.ports.simulator))
            channel = await stack.enter_async_context(open_line(plan.ports.gateway))
            bots = [bot.name for bot in fleet.bots if bot.name.startswith(BOT)]
            await self._start(crew, proxy.address, bots)
            clock = FleetClock(self.speed, plan.origin_ns)
            feed = Feed(_token(plan, "operator"), channel)
            its_stakes = stakes()
            callers = [
                Caller(bot.name, _token(plan, bot.name), channel, clock, its_stakes, CALLER_PAUSE_S)
                for bot in fleet.bots
                if bot.name.startswith(CALLER)
            ]
            storm = Storm(crew, proxy, feed, tuple(bots), clock.now_ns, self.seed, self.kill_every_s, self.cut_every_s)
            scene = _Scene(plan, crew, feed, callers, storm, clock)
            await self._play(scene, bots, stack)
            return self._report(scene, time.monotonic() - began_s)

    async def _start(self, crew: Crew, deriv: str, bots: list[str]) -> None:
        ports = crew.plan.ports
        untraced = {"DERIVFLEET_GATEWAY_OTLP_ENDPOINT": ""}
        await crew.start("simulator")
        await until(lambda: answers(f"http://{ports.simulator}/health"))
        await crew.start("gateway", untraced, deriv)
        crew.enlist("second", untraced, deriv, service="gateway")
        await until(lambda: is_serving(ports.gateway))
        for name in bots:
            await crew.start(name, {"DERIVFLEET_BOT_OTLP_ENDPOINT": ""})

    async def _play(self, scene: _Scene, bots: list[str], stack: AsyncExitStack) -> None:
        """Storm, calm, and what is left when all has ended."""
        feed, storm, crew = scene.feed, scene.storm, scene.crew
        stop = asyncio.Event()
        following = asyncio.create_task(feed.follow())
        stack.callback(following.cancel)
        calling = [asyncio.create_task(caller.run(stop)) for caller in scene.callers]
        stack.callback(lambda: [task.cancel() for task in calling])
        self.show(Look("warming up"))
        await until(lambda: _has_all_bots(feed, self.bots + self.callers))
        scene.storm_ns = scene.clock.now_ns()
        await self._weather(storm, feed, [*calling, following])
        self.show(Look("calm", storm.kills, len(storm.cut_ns), len(feed.transitions)))
        storm.proxy.heal()
        calm_ns = scene.clock.now_ns()
        await asyncio.sleep(CALM_S)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*calling), READY_WALL_S)
        scene.alive = await self._traded_since(feed, calm_ns, bots)
        scene.killed = await crew.stop_members(bots)
        scene.resolved_s = await self._resolved(feed)
        simulator = f"http://{scene.plan.ports.simulator}"
        told = [told for caller in scene.callers for told in caller.told.values()]
        contracts = contracts_of(await fetch(f"{simulator}/ledger"))
        scene.verdict = judge(await feed.orders(), contracts, told, feed.transitions)
        scene.refused_for_rate = (await fetch(f"{simulator}/ledger/calls"))["refused"]
        scene.killed += await crew.stop()

    def _fleet(self) -> Fleet:
        def bot(name: str, number: int, symbols: tuple[str, ...]) -> dict[str, Any]:
            return {
                "name": name,
                "strategy": "digit_frequency",
                "symbols": list(symbols),
                "stake": "0.35",
                "parameters": {"side": "over", "barrier": 2 + number % 5, "window_ticks": 5, "deficit": -1.0},
            }

        bots = [bot(f"{BOT}{index}", index, (SYMBOLS[index % len(SYMBOLS)],)) for index in range(self.bots)]
        bots += [bot(f"{CALLER}{index}", index, ("1HZ100V", "1HZ10V", "R_100")) for index in range(self.callers)]
        return Fleet.model_validate({"fleet": "chaos", "accounts": [{"key": "demo"}], "bots": bots})

    async def _weather(self, storm: Storm, feed: Feed, guarded: list[asyncio.Task[None]]) -> None:
        """Let the storm pass; a part of ours that fails ends the run."""
        parts = [asyncio.create_task(storm.kill(self.kills)), asyncio.create_task(storm.cut(self.cuts))]
        try:
            while not all(part.done() for part in parts):
                await asyncio.wait([*parts, *guarded], timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                for task in (*parts, *guarded):
                    if task.done():
                        task.result()
                served = sum(blow.served_ms is not None for blow in storm.blows)
                self.show(Look("storm", storm.kills, len(storm.cut_ns), len(feed.transitions), served))
                if all(part.done() for part in parts):
                    return
                await asyncio.sleep(0.3)
        finally:
            for part in parts:
                part.cancel()

    async def _traded_since(self, feed: Feed, since_ns: int, bots: list[str]) -> list[str]:
        """Which bots buy when it is calm again; waits for all of them, but not for ever."""
        end_s = time.monotonic() + READY_WALL_S
        while True:
            alive = {step.bot for step in feed.transitions if step.contract_id and step.intended_ns > since_ns}
            if alive >= set(bots) or time.monotonic() > end_s:
                return sorted(alive & set(bots))
            await asyncio.sleep(0.2)

    async def _resolved(self, feed: Feed) -> float:
        """Wait until every order has ended; returns the wall seconds that took."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + CALM_WALL_S:
            orders = await feed.orders()
            if all(order.state in FINAL for order in orders):
                told = {step.order_id for step in feed.transitions if step.state in FINAL}
                if len(told) >= len(orders):
                    break
            await asyncio.sleep(0.5)
        return time.monotonic() - began_s

    def _report(self, scene: _Scene, wall_s: float) -> Report:
        storm, feed, verdict = scene.storm, scene.feed, scene.verdict
        troubles = [*storm.cut_ns]
        for blow in storm.blows:
            troubles += (blow.at_ns, blow.until_ns)
        now_ns = scene.clock.now_ns()
        waits = waits_of(feed.transitions, troubles, now_ns)
        served = [blow.served_ms for blow in storm.blows if blow.served_ms is not None]
        unasked = [asdict(end) for end in scene.crew.unasked]
        minutes = (now_ns - scene.storm_ns) / 60e9
        bought = sum(step.state == CONFIRMED for step in feed.transitions)
        facts: dict[str, Any] = {
            "kills": storm.kills,
            "cuts": len(storm.cut_ns),
            **verdict.counts,
            "takeover_ms": spread(served),
            "first_order_ms": spread(first_orders_ms(storm.blows, feed.transitions, self.speed)),
            "waits": waits,
            "blows": dict(Counter(blow.kind for blow in storm.blows)),
            "cuts_by_kind": storm.cuts,
            "second_gateways_refused": storm.refused_seconds,
            "feed_positions_twice": feed.twice,
            "unasked_ends": unasked,
            "bots_that_traded_after_it": scene.alive,
            "calls_refused_for_rate": scene.refused_for_rate,
            "receipts": bought,
            "receipts_a_fleet_minute": round(bought / minutes, 1) if minutes else 0.0,
            "resolved_after_wall_s": round(scene.resolved_s, 1),
            "conditions": {
                "speed": self.speed,
                "seed": self.seed,
                "dialect": self.dialect,
                "bots": self.bots,
                "callers": self.callers,
                "wall_s": round(wall_s, 1),
            },
            "lines": verdict.lines,
        }
        problems = [*verdict.lines, *storm.problems]
        problems += [f"{end['name']} ended by itself ({end['exit_code']}): {end['line'][:200]}" for end in unasked]
        problems += [f"{name} did not end within ten seconds of being asked to" for name in scene.killed]
        if len(scene.alive) < self.bots:
            problems.append(f"only {len(scene.alive)} of {self.bots} bots bought after the storm")
        if waits["caused_by_others"]:
            problems.append("bots waited longer while another bot's order was unknown")
        facts["problems"] = problems
        return Report(facts, problems)


async def _has_all_bots(feed: Feed, bots: int) -> bool:
    return len({step.bot for step in feed.transitions if step.contract_id}) >= bots


def _token(plan: Plan, bearer: str) -> str:
    return read_token(plan.run_dir.token(bearer), "token")
