"""One whole run: processes up, faults injected, a calm end, the ledger checked, processes down."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from derivfleet.cli.clients import is_serving
from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.own_token import read_token
from tests.chaos.callers import CONFIRMED, FINAL, Caller, open_quick_channel, stakes
from tests.chaos.fault_injection import FaultInjector
from tests.chaos.ledger_check import LedgerCheck, check_ledger, contracts_of, first_orders_ms, spread, waits_of
from tests.chaos.operator_client import OperatorClient
from tests.chaos.processes import FleetProcesses
from tests.chaos.proxy import proxied
from tests.chaos.run_setup import READY_WALL_S, answers, fetch, prepared, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from derivfleet.cli.run.plan import Plan
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["ChaosRun", "Report", "RunProgress"]

CALM_WALL_S = 90.0
"""How long, after the last fault, every order may take to come to its end."""
CALM_S = 1.0
"""How long the callers go on when nothing is wrong any more."""
CALLER_PAUSE_S = 0.2
BOT, CALLER = "bot-", "caller-"
SYMBOLS = ("1HZ100V", "1HZ75V", "R_100", "1HZ50V")


@dataclass(frozen=True, slots=True)
class RunProgress:
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
class _RunState:
    """The parts of a run, and what comes of it."""

    plan: Plan
    processes: FleetProcesses
    operator: OperatorClient
    callers: list[Caller]
    injector: FaultInjector
    clock: FleetClock
    injecting_since_ns: int = 0
    check: LedgerCheck = field(default_factory=LedgerCheck)
    alive: list[str] = field(default_factory=list[str])
    killed: list[str] = field(default_factory=list[str])
    refused_for_rate: int = 0
    resolved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ChaosRun:
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
    show: Callable[[RunProgress], None]

    async def run(self) -> Report:
        """Carry it out. Raises TimeoutError if the fleet does not come up or buys nothing."""
        began_s = time.monotonic()
        fleet = self._fleet()
        plan = prepared(self.folder, fleet, self.dialect, self.speed, str(self.seed))
        processes = FleetProcesses(plan)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(processes.stop)
            self.show(RunProgress("starting"))
            proxy = await stack.enter_async_context(proxied(plan.ports.simulator))
            channel = await stack.enter_async_context(open_quick_channel(plan.ports.gateway))
            bots = [bot.name for bot in fleet.bots if bot.name.startswith(BOT)]
            await self._start(processes, proxy.address, bots)
            clock = FleetClock(self.speed, plan.origin_ns)
            operator = OperatorClient(_token(plan, "operator"), channel)
            its_stakes = stakes()
            callers = [
                Caller(bot.name, _token(plan, bot.name), channel, clock, its_stakes, CALLER_PAUSE_S)
                for bot in fleet.bots
                if bot.name.startswith(CALLER)
            ]
            injector = FaultInjector(
                processes, proxy, operator, tuple(bots), clock.now_ns, self.seed, self.kill_every_s, self.cut_every_s
            )
            state = _RunState(plan, processes, operator, callers, injector, clock)
            await self._play(state, bots, stack)
            return self._report(state, time.monotonic() - began_s)

    async def _start(self, processes: FleetProcesses, deriv: str, bots: list[str]) -> None:
        ports = processes.plan.ports
        untraced = {"DERIVFLEET_GATEWAY_OTLP_ENDPOINT": ""}
        await processes.start("simulator")
        await until(lambda: answers(f"http://{ports.simulator}/health"))
        await processes.start("gateway", untraced, deriv)
        processes.register("second", untraced, deriv, service="gateway")
        await until(lambda: is_serving(ports.gateway))
        for name in bots:
            await processes.start(name, {"DERIVFLEET_BOT_OTLP_ENDPOINT": ""})

    async def _play(self, state: _RunState, bots: list[str], stack: AsyncExitStack) -> None:
        """Faults, calm, and what is left when all has ended."""
        operator, injector, processes = state.operator, state.injector, state.processes
        stop = asyncio.Event()
        following = asyncio.create_task(operator.follow())
        stack.callback(following.cancel)
        calling = [asyncio.create_task(caller.run(stop)) for caller in state.callers]
        stack.callback(lambda: [task.cancel() for task in calling])
        self.show(RunProgress("warming up"))
        await until(lambda: _has_all_bots(operator, self.bots + self.callers))
        state.injecting_since_ns = state.clock.now_ns()
        await self._inject_faults(injector, operator, [*calling, following])
        self.show(RunProgress("calm", injector.kills, len(injector.cut_ns), len(operator.transitions)))
        injector.proxy.heal()
        calm_ns = state.clock.now_ns()
        await asyncio.sleep(CALM_S)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*calling), READY_WALL_S)
        state.alive = await self._traded_since(operator, calm_ns, bots)
        state.killed = await processes.stop_some(bots)
        state.resolved_s = await self._resolved(operator)
        simulator = f"http://{state.plan.ports.simulator}"
        told = [told for caller in state.callers for told in caller.told.values()]
        contracts = contracts_of(await fetch(f"{simulator}/ledger"))
        state.check = check_ledger(await operator.orders(), contracts, told, operator.transitions)
        state.refused_for_rate = (await fetch(f"{simulator}/ledger/calls"))["refused"]
        state.killed += await processes.stop()

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

    async def _inject_faults(
        self, injector: FaultInjector, operator: OperatorClient, guarded: list[asyncio.Task[None]]
    ) -> None:
        """Inject all faults; a part of ours that fails ends the run."""
        parts = [asyncio.create_task(injector.kill(self.kills)), asyncio.create_task(injector.cut(self.cuts))]
        try:
            while not all(part.done() for part in parts):
                await asyncio.wait([*parts, *guarded], timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                for task in (*parts, *guarded):
                    if task.done():
                        task.result()
                served = sum(fault.served_ms is not None for fault in injector.faults)
                self.show(
                    RunProgress("faults", injector.kills, len(injector.cut_ns), len(operator.transitions), served)
                )
                if all(part.done() for part in parts):
                    return
                await asyncio.sleep(0.3)
        finally:
            for part in parts:
                part.cancel()

    async def _traded_since(self, operator: OperatorClient, since_ns: int, bots: list[str]) -> list[str]:
        """Which bots buy when it is calm again; waits for all of them, but not for ever."""
        end_s = time.monotonic() + READY_WALL_S
        while True:
            alive = {step.bot for step in operator.transitions if step.contract_id and step.intended_ns > since_ns}
            if alive >= set(bots) or time.monotonic() > end_s:
                return sorted(alive & set(bots))
            await asyncio.sleep(0.2)

    async def _resolved(self, operator: OperatorClient) -> float:
        """Wait until every order has ended; returns the wall seconds that took."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + CALM_WALL_S:
            orders = await operator.orders()
            if all(order.state in FINAL for order in orders):
                told = {step.order_id for step in operator.transitions if step.state in FINAL}
                if len(told) >= len(orders):
                    break
            await asyncio.sleep(0.5)
        return time.monotonic() - began_s

    def _report(self, state: _RunState, wall_s: float) -> Report:
        injector, operator, check = state.injector, state.operator, state.check
        troubles = [*injector.cut_ns]
        for fault in injector.faults:
            troubles += (fault.at_ns, fault.until_ns)
        now_ns = state.clock.now_ns()
        waits = waits_of(operator.transitions, troubles, now_ns)
        served = [fault.served_ms for fault in injector.faults if fault.served_ms is not None]
        unexpected_exits = [asdict(end) for end in state.processes.unexpected_exits]
        minutes = (now_ns - state.injecting_since_ns) / 60e9
        bought = sum(step.state == CONFIRMED for step in operator.transitions)
        facts: dict[str, Any] = {
            "kills": injector.kills,
            "cuts": len(injector.cut_ns),
            **check.counts,
            "takeover_ms": spread(served),
            "first_order_ms": spread(first_orders_ms(injector.faults, operator.transitions, self.speed)),
            "waits": waits,
            "faults": dict(Counter(fault.kind for fault in injector.faults)),
            "cuts_by_kind": injector.cuts,
            "second_gateways_refused": injector.refused_seconds,
            "feed_positions_twice": operator.twice,
            "unexpected_exits": unexpected_exits,
            "bots_that_traded_after_it": state.alive,
            "calls_refused_for_rate": state.refused_for_rate,
            "receipts": bought,
            "receipts_a_fleet_minute": round(bought / minutes, 1) if minutes else 0.0,
            "resolved_after_wall_s": round(state.resolved_s, 1),
            "conditions": {
                "speed": self.speed,
                "seed": self.seed,
                "dialect": self.dialect,
                "bots": self.bots,
                "callers": self.callers,
                "wall_s": round(wall_s, 1),
            },
            "lines": check.lines,
        }
        problems = [*check.lines, *injector.problems]
        problems += [
            f"{end['name']} ended by itself ({end['exit_code']}): {end['line'][:200]}" for end in unexpected_exits
        ]
        problems += [f"{name} did not end within ten seconds of being asked to" for name in state.killed]
        if len(state.alive) < self.bots:
            problems.append(f"only {len(state.alive)} of {self.bots} bots bought after the last fault")
        if waits["caused_by_others"]:
            problems.append("bots waited longer while another bot's order was unknown")
        facts["problems"] = problems
        return Report(facts, problems)


async def _has_all_bots(operator: OperatorClient, bots: int) -> bool:
    return len({step.bot for step in operator.transitions if step.contract_id}) >= bots


def _token(plan: Plan, bearer: str) -> str:
    return read_token(plan.run_dir.token(bearer), "token")
