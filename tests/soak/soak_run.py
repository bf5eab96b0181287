"""One whole run: processes up, sampled while they trade, the ledger checked, processes down."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from derivfleet.cli.clients import is_serving
from derivfleet.cli.run.environments import processes_of
from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.own_token import read_token
from derivfleet.common.vitals import VITALS_VARIABLE
from tests.chaos.callers import FINAL, open_quick_channel
from tests.chaos.ledger_check import check_ledger, contracts_of
from tests.chaos.operator_client import OperatorClient
from tests.chaos.processes import FleetProcesses
from tests.chaos.run_setup import answers, fetch, prepared, until
from tests.soak.downtime import Span, down_spans, joined, length
from tests.soak.process_samples import ProcessSampler, Series
from tests.soak.trend import Trend, trend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.fleet import Fleet
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["Report", "RunProgress", "SoakRun"]

FLEET_FILE = Path(__file__).parents[2] / "fleet.yaml"
SETTLE_WALL_S = 60.0
LOOK_EVERY_WALL_S = 0.5
MOST_SAMPLES = 600
WARM_SHARE = 0.25
"""Of the run, before growth counts: caches fill up (the gateway's 5,000 recent orders), windows of an hour too."""
LEAK_SHARE = 0.05
LEAST_LEAK = {"rss_mb": 4.0, "objects": 5000.0, "descriptors": 4.0}
LEAST_COUNT = 5.0
"""For every other count."""
REMEMBERED = "demo_orders_remembered"
OF_AN_ORDER = {"rss_mb": 0.002, "objects": 4.0}
"""What an order takes that the gateway keeps in memory. It keeps 5,000, which a short run does not reach; so this much
more is allowed for each that it keeps more."""
BY_DESIGN = frozenset({("simulator", "rss_mb"), ("simulator", "objects")})
"""The simulator's ledger lives in its memory: it is there to be compared with, and is told apart."""
UPTIME = 0.999
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How a run stands."""

    stage: str
    passed_s: float = 0.0
    rss_mb: float = 0.0
    orders: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What is written down, what must not be, and what was seen, for the picture."""

    facts: dict[str, Any]
    problems: list[str]
    watch: ProcessSampler
    warm_s: float


@dataclass(slots=True)
class _Unavailability:
    """When the gateway could not have bought: no socket, or the breaker open."""

    spans: list[Span]
    since_ns: int | None = None

    def see(self, now_ns: int, *, can_buy: bool) -> None:
        if can_buy and self.since_ns is not None:
            self.spans.append((self.since_ns, now_ns))
            self.since_ns = None
        elif not can_buy and self.since_ns is None:
            self.since_ns = now_ns


@dataclass(frozen=True, slots=True)
class SoakRun:
    """How a run is set up. ``hours`` are those of the fleet."""

    hours: float
    speed: float
    pause_ticks: int
    dialect: Dialect
    folder: Path
    show: Callable[[RunProgress], None]

    async def run(self) -> Report:
        """Carry it out. Raises TimeoutError if the fleet does not come up."""
        fleet = self._fleet()
        plan = prepared(self.folder, fleet, self.dialect, self.speed)
        processes = FleetProcesses(plan)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(processes.stop)
            self.show(RunProgress("starting"))
            bots = await self._start(processes, fleet)
            channel = await stack.enter_async_context(open_quick_channel(plan.ports.gateway))
            operator = OperatorClient(read_token(plan.run_dir.token("operator"), "token"), channel)
            return await self._trade(processes, operator, bots, FleetClock(self.speed, plan.origin_ns))

    def _fleet(self) -> Fleet:
        fleet = load_fleet(FLEET_FILE)
        bots = tuple(
            bot.model_copy(update={"pause_ticks": max(bot.pause_ticks, self.pause_ticks)}) for bot in fleet.bots
        )
        return fleet.model_copy(update={"bots": bots})

    async def _start(self, processes: FleetProcesses, fleet: Fleet) -> list[str]:
        wall_s = self.hours * 3600 / self.speed
        told = {VITALS_VARIABLE: f"{max(0.5, min(30.0, wall_s / MOST_SAMPLES)):g}"}
        ports = processes.plan.ports
        await processes.start("metrics", told)
        await processes.start("simulator", told)
        await until(lambda: answers(f"http://{ports.simulator}/health"))
        await processes.start("gateway", told)
        await until(lambda: is_serving(ports.gateway))
        await until(lambda: is_serving(ports.metrics))
        bots = [process for bot in fleet.bots for process in processes_of(bot)]
        for process in bots:
            await processes.start(process, told)
        return bots

    async def _trade(
        self, processes: FleetProcesses, operator: OperatorClient, bots: list[str], clock: FleetClock
    ) -> Report:
        run_dir, ports = processes.plan.run_dir, processes.plan.ports
        wall_s = self.hours * 3600 / self.speed
        watch, unavailability = ProcessSampler(), _Unavailability([])
        start_ns, sampled_s = clock.now_ns(), float("-inf")
        bought = 0
        while watch.passed_s < wall_s:
            can_buy, bought = await self._can_buy(operator, bought)
            unavailability.see(clock.now_ns(), can_buy=can_buy)
            if watch.passed_s - sampled_s >= wall_s / MOST_SAMPLES:
                sampled_s = watch.passed_s
                for name, member in processes.members.items():
                    watch.look(name, processes.pid(name), member.log)
                for name in ("journal", "metrics"):
                    watch.add("disk", f"{name}_mb", _size_mb(run_dir.record(name, simulated=True)))
            rss = watch.series.get("gateway", {}).get("rss_mb")
            self.show(RunProgress("trading", watch.passed_s, rss.values[-1] if rss else 0.0, bought))
            await asyncio.sleep(LOOK_EVERY_WALL_S)
        end_ns = clock.now_ns()
        unavailability.see(end_ns, can_buy=True)
        self.show(RunProgress("ending", wall_s, orders=bought))
        restarts = {name: member.starts - 1 for name, member in processes.members.items() if member.starts > 1}
        uptimes = {
            name: 1
            - length(joined([*down_spans(_lines(run_dir.log(name)), end_ns), *unavailability.spans]))
            / (end_ns - start_ns)
            for name in bots
        }
        killed = await processes.stop_some(bots)
        await self._settled(operator)
        orders = await operator.orders()
        ledger = await fetch(f"http://{ports.simulator}/ledger")
        check = check_ledger(orders, contracts_of(ledger), (), None, Decimal("Infinity"))
        killed += await processes.stop()
        return self._report(processes, watch, uptimes, check.counts, check.lines, restarts, killed, len(orders))

    async def _can_buy(self, operator: OperatorClient, bought: int) -> tuple[bool, int]:
        try:
            status = await operator.status()
        except grpc.aio.AioRpcError:
            return False, bought
        is_there = any(one.state in ("ready", "slow") for one in status.connections)
        confirmed = sum(bot.confirmed for bot in status.bots)
        return is_there and status.breaker.state != "open", confirmed

    async def _settled(self, operator: OperatorClient) -> None:
        end_s = time.monotonic() + SETTLE_WALL_S
        while time.monotonic() < end_s:
            if all(order.state in FINAL for order in await operator.orders()):
                return
            await asyncio.sleep(1.0)

    def _report(
        self,
        processes: FleetProcesses,
        watch: ProcessSampler,
        uptimes: dict[str, float],
        counts: dict[str, int],
        lines: list[str],
        restarts: dict[str, int],
        killed: list[str],
        orders: int,
    ) -> Report:
        warm_s = watch.passed_s * WARM_SHARE
        span_s = self.hours * 3600
        by_process: dict[str, dict[str, Any]] = {}
        leaks: list[str] = []
        for name, of_process in watch.series.items():
            if name == "disk":
                continue
            trends = {key: _trend(series.after(warm_s)) for key, series in of_process.items()}
            kept = trends[REMEMBERED].growth if REMEMBERED in trends else 0.0
            for observable, trend in trends.items():
                allowed = LEAST_LEAK.get(observable, LEAST_COUNT) + max(0.0, kept) * OF_AN_ORDER.get(observable, 0.0)
                bounded = observable == REMEMBERED or (name, observable) in BY_DESIGN
                is_leak = trend.is_leak(LEAK_SHARE, allowed) and not bounded
                facts = {key: round(value, 2) for key, value in asdict(trend).items()}
                by_process.setdefault(name, {})[observable] = facts | {"allowed": round(allowed, 1), "leak": is_leak}
                if is_leak:
                    leaks.append(
                        f"{name}: {observable} grew by {trend.growth:.1f} from {trend.first:.1f} "
                        f"(99 %: {trend.growth_low:.1f} to {trend.growth_high:.1f}, allowed {allowed:.1f})"
                    )
        disk = {
            observable: round((series.values[-1] - series.values[0]) * DAY_S / span_s, 1)
            for observable, series in watch.series.get("disk", {}).items()
            if series.values
        }
        short = [f"{name} could trade {uptime:.4%} of the time" for name, uptime in uptimes.items() if uptime < UPTIME]
        problems = [*leaks, *short, *lines]
        problems += [
            f"{end.name} ended by itself ({end.exit_code}): {end.line[:200]}" for end in processes.unexpected_exits
        ]
        problems += [f"{name} did not end within ten seconds of being asked to" for name in killed]
        facts = {
            "fleet_hours": self.hours,
            "speed": self.speed,
            "dialect": self.dialect,
            "orders": orders,
            "uptime": {name: round(uptime, 6) for name, uptime in uptimes.items()},
            "least_uptime": round(min(uptimes.values(), default=0.0), 6),
            "disk_mb_a_day": disk,
            "processes": by_process,
            "ledger": counts,
            "restarts": restarts,
            "test": (
                f"Theil–Sen slope of up to 60 medians after the first {WARM_SHARE:.0%} of the run; a leak if the 99 % "
                f"interval is above 0 and the growth over the run above {LEAK_SHARE:.0%} and {LEAST_LEAK} "
                f"(other counts: {LEAST_COUNT:g}) and, in the gateway, {OF_AN_ORDER} for each order more that it keeps "
                "in memory, of which there are at most 5,000"
            ),
            "problems": problems,
        }
        return Report(facts, problems, watch, warm_s)


def _trend(series: Series) -> Trend:
    return trend_of(series.times, series.values)


def _size_mb(path: Path) -> float:
    files = [path, path.with_name(f"{path.name}-wal")]
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()
