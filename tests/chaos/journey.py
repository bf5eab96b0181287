"""One whole run: up, storm, calm, verdict, down."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from derivfleet.cli.client import is_serving
from derivfleet.cli.environments import Plan, Simulated
from derivfleet.cli.rundir import RunDir
from derivfleet.cli.up import credential_for, write_fleet
from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.identity import Role, issue_tokens, read_token
from derivfleet.deriv.vocabulary import Dialect
from tests.chaos.callers import CONFIRMED, FINAL, Caller, Feed, open_line, stakes
from tests.chaos.crew import Crew, free_ports
from tests.chaos.judge import Verdict, contracts_of, first_orders_ms, judge, spread, waits_of
from tests.chaos.proxy import proxied
from tests.chaos.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Journey", "Look", "Report"]

READY_WALL_S = 60.0
CALM_WALL_S = 90.0
"""How long, after the last blow, every order may take to come to its end."""
WARM_WALL_S = 20.0
TROUBLE = ("gateway killed", "taken over", "gateway paused", "disk full")
SYMBOLS = ("1HZ100V", "1HZ75V", "R_100", "1HZ50V")


@dataclass(frozen=True, slots=True)
class Look:
    """How a run stands."""

    stage: str
    kills: int = 0
    cuts: int = 0
    orders: int = 0
    served: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What is written down, and whether all of it is as it must be."""

    facts: dict[str, Any]
    problems: list[str]


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
        shutil.rmtree(self.folder, ignore_errors=True)
        run_dir = RunDir(self.folder.resolve())
        run_dir.prepare(simulated=True)
        fleet = write_fleet(self._fleet(), self.dialect, run_dir)
        bearers = {bot.name: Role.BOT for bot in fleet.bots} | {"operator": Role.OPERATOR, "metrics": Role.OBSERVER}
        issue_tokens(bearers, run_dir.tokens)
        settings = run_dir.path / "simulator.yaml"
        settings.write_text(yaml.safe_dump({"start_balance": "100000000.00"}))
        plan = Plan(
            run_dir,
            free_ports(),
            credential_for(self.dialect),
            Simulated(str(self.seed), settings),
            self.speed,
            time.time_ns(),
        )
        clock = FleetClock(self.speed, plan.origin_ns)
        crew = Crew(plan)
        silent = {"DERIVFLEET_GATEWAY_OTLP_ENDPOINT": ""}
        async with AsyncExitStack() as stack:
            stack.push_async_callback(crew.stop)
            self.show(Look("starting"))
            proxy = await stack.enter_async_context(proxied(plan.ports.simulator))
            channel = await stack.enter_async_context(open_line(plan.ports.gateway))
            await crew.start("simulator")
            await _until(lambda: _answers(f"http://{plan.ports.simulator}/health"))
            await crew.start("gateway", silent, proxy.address)
            crew.enlist("second", silent, proxy.address, service="gateway")
            await _until(lambda: is_serving(plan.ports.gateway))
            processes = [bot.name for bot in fleet.bots if bot.name.startswith("bot-")]
            for name in processes:
                await crew.start(name, {"DERIVFLEET_BOT_OTLP_ENDPOINT": ""})
            feed = Feed(read_token(run_dir.token("operator"), "token"), channel)
            its_stakes = stakes()
            callers = [
                Caller(name, read_token(run_dir.token(name), "token"), channel, clock, its_stakes, 0.2)
                for name in (bot.name for bot in fleet.bots if bot.name.startswith("caller-"))
            ]
            stop = asyncio.Event()
            following = asyncio.create_task(feed.follow())
            stack.callback(following.cancel)
            calling = [asyncio.create_task(caller.run(stop)) for caller in callers]
            stack.callback(lambda: [task.cancel() for task in calling])
            storm = Storm(
                crew, proxy, feed, tuple(processes), clock.now_ns, self.seed, self.kill_every_s, self.cut_every_s
            )
            self.show(Look("warming up"))
            await _until(lambda: _has_all_bots(feed, len(fleet.bots)), WARM_WALL_S)
            storm_ns = clock.now_ns()
            await self._weather(storm, feed, [*calling, following])
            self.show(Look("calm", storm.kills, len(storm.cut_ns), len(feed.transitions)))
            proxy.heal()
            calm_ns = clock.now_ns()
            await asyncio.sleep(1.0)
            stop.set()
            await asyncio.wait_for(asyncio.gather(*calling), READY_WALL_S)
            alive = await self._traded_since(feed, calm_ns, processes)
            killed = await crew.stop_members(processes)
            resolved_s = await self._resolved(feed)
            orders = await feed.orders()
            ledger = await _fetch(f"http://{plan.ports.simulator}/ledger")
            calls = await _fetch(f"http://{plan.ports.simulator}/ledger/calls")
            verdict = judge(
                orders,
                contracts_of(ledger),
                [told for caller in callers for told in caller.told.values()],
                feed.transitions,
            )
            killed += await crew.stop()
            return self._report(
                began_s, storm, feed, verdict, crew, clock, storm_ns, calls["refused"], alive, killed, resolved_s
            )

    def _fleet(self) -> Fleet:
        def bot(name: str, number: int, symbols: tuple[str, ...]) -> dict[str, Any]:
            return {
                "name": name,
                "strategy": "digit_frequency",
                "symbols": list(symbols),
                "stake": "0.35",
                "parameters": {"side": "over", "barrier": 2 + number % 5, "window_ticks": 5, "deficit": -1.0},
            }

        bots = [bot(f"bot-{index}", index, (SYMBOLS[index % len(SYMBOLS)],)) for index in range(self.bots)]
        bots += [bot(f"caller-{index}", index, ("1HZ100V", "1HZ10V", "R_100")) for index in range(self.callers)]
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
                orders = sum(step.contract_id > 0 for step in feed.transitions[-1:]) and len(feed.transitions)
                self.show(Look("storm", storm.kills, len(storm.cut_ns), orders, served))
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

    def _report(
        self,
        began_s: float,
        storm: Storm,
        feed: Feed,
        verdict: Verdict,
        crew: Crew,
        clock: FleetClock,
        storm_ns: int,
        refused_for_rate: int,
        alive: list[str],
        killed: list[str],
        resolved_s: float,
    ) -> Report:
        troubles = [*storm.cut_ns]
        for blow in storm.blows:
            troubles += (blow.at_ns, blow.until_ns)
        waits = waits_of(feed.transitions, troubles, clock.now_ns())
        served = [blow.served_ms for blow in storm.blows if blow.served_ms is not None]
        unasked = [asdict(end) for end in crew.unasked]
        minutes = (clock.now_ns() - storm_ns) / 60e9
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
            "bots_that_traded_after_it": alive,
            "calls_refused_for_rate": refused_for_rate,
            "receipts": bought,
            "receipts_a_fleet_minute": round(bought / minutes, 1) if minutes else 0.0,
            "resolved_after_wall_s": round(resolved_s, 1),
            "conditions": {
                "speed": self.speed,
                "seed": self.seed,
                "dialect": self.dialect,
                "bots": self.bots,
                "callers": self.callers,
                "wall_s": round(time.monotonic() - began_s, 1),
            },
            "lines": verdict.lines,
        }
        problems = [*verdict.lines, *storm.problems]
        problems += [f"{end['name']} ended by itself ({end['exit_code']}): {end['line'][:200]}" for end in unasked]
        problems += [f"{name} did not end within ten seconds of being asked to" for name in killed]
        if len(alive) < self.bots:
            problems.append(f"only {len(alive)} of {self.bots} bots bought after the storm")
        if waits["caused_by_others"]:
            problems.append("bots waited longer while another bot's order was unknown")
        facts["problems"] = problems
        return Report(facts, problems)


async def _until(holds: Callable[[], Awaitable[bool]], patience_s: float = READY_WALL_S) -> None:
    async with asyncio.timeout(patience_s):
        while not await holds():
            await asyncio.sleep(0.1)


async def _answers(url: str) -> bool:
    try:
        await _fetch(url)
    except (aiohttp.ClientError, TimeoutError):
        return False
    return True


async def _has_all_bots(feed: Feed, bots: int) -> bool:
    return len({step.bot for step in feed.transitions if step.contract_id}) >= bots


async def _fetch(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, timeout=aiohttp.ClientTimeout(60)) as answer:
        answer.raise_for_status()
        body: dict[str, Any] = await answer.json()
        return body
