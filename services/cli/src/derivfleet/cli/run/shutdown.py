"""How a run ends: bots first, then the wait for what is open, then the figures, then the rest of the services."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from derivfleet.cli.clients import OPERATOR, ReportsClient
from derivfleet.cli.errors import CommandError
from derivfleet.cli.reports.request import period_over
from derivfleet.cli.run.environments import bot_of
from derivfleet.cli.run.ledger_comparison import OrderClaim, differences
from derivfleet.cli.run.simulator_client import read_ledger
from derivfleet.cli.run.summary import QuotaSummary, RunSummary, bots_of, first_settled_ns
from derivfleet.common.clock import NS_PER_S, FleetClock
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from derivfleet.cli.clients import ControlClient
    from derivfleet.cli.run.fleet_status import StatusPoller
    from derivfleet.cli.run.plan import Plan
    from derivfleet.cli.run.simulator_client import LedgerReading
    from derivfleet.cli.run.startup import Startup
    from derivfleet.cli.run.supervisor import ChildView, Supervisor
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.v1 import control_pb2, reports_pb2

__all__ = ["Shutdown", "problems_of"]

SETTLE_WALL_S = 10.0
"""How long open orders are waited for."""
UNKNOWN_WALL_S = 45.0
"""How long orders are waited for whose purchase is being looked up: Deriv's records are read for half a minute."""
AGREE_WALL_S = 5.0
"""How long the last news may be on its way before a difference to the ledger counts."""
_ASK_EVERY_S = 0.25
_SIGTERM = -15


@dataclass(slots=True)
class _Facts:
    """What could be collected."""

    orders: list[orders_pb2.Order] = field(default_factory=list["orders_pb2.Order"])
    account: control_pb2.AccountStatus | None = None
    reading: LedgerReading | None = None
    differences: list[str] = field(default_factory=list[str])
    report: reports_pb2.Report | None = None
    problems: list[str] = field(default_factory=list[str])


class Shutdown:
    """Ends one run and sums it up. ``began_ns`` and ``clock`` are the wall's."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        supervisor: Supervisor,
        startup: Startup,
        clock: Clock,
        began_ns: int,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._fleet_clock = FleetClock(plan.speed, plan.origin_ns)
        self._fleet = fleet
        self._supervisor = supervisor
        self._startup = startup
        self._clock = clock
        self._began_ns = began_ns
        self._say = say
        self.report: reports_pb2.Report | None = None
        """Over the whole run, once it has ended; None if it could not be had."""

    async def run(self, client: ControlClient, poller: StatusPoller) -> RunSummary:
        """End the fleet in order; never raises for what the services did, but says it in the summary."""
        duration_s = (self._clock.now_ns() - self._began_ns) / NS_PER_S
        problems = [
            f"{child.name} was {child.state} at the end (last exit code {child.exit_code})"
            for child in self._supervisor.children
            if child.state != "running"
        ]
        self._say("stopping the bots …")
        await self._supervisor.stop(self._startup.processes)
        await self._settle(poller)
        facts = await self._collect(client)
        self.report = facts.report
        for service in self._startup.core:
            await self._supervisor.stop([service])
        problems += problems_of(self._supervisor.children) + facts.problems
        return self._sum_up(facts, poller, problems, duration_s)

    async def _settle(self, poller: StatusPoller) -> None:
        """Wait until no order is open, within bounds."""
        began_s, said = self._clock.now_s(), 0
        while True:
            status = await poller.poll(self._supervisor.children, orders=0)
            waited_s = self._clock.now_s() - began_s
            still_open, unknown = status.total("open"), status.total("unknown")
            if not still_open or status.problem or waited_s > (UNKNOWN_WALL_S if unknown else SETTLE_WALL_S):
                return
            if still_open != said:
                said = still_open
                self._say(f"waiting for open orders: {still_open} …")
            await self._clock.sleep(_ASK_EVERY_S)

    async def _collect(self, client: ControlClient) -> _Facts:
        facts = _Facts()
        began_s = self._clock.now_s()
        while True:
            try:
                await self._compare(client, facts)
            except CommandError as error:
                facts.problems.append(f"figures are missing: {error}")
                break
            if not facts.differences or self._clock.now_s() - began_s > AGREE_WALL_S:
                break
            await self._clock.sleep(_ASK_EVERY_S)
        try:
            facts.report = await self._report(
                sum(order.state == orders_pb2.ORDER_STATE_SETTLED for order in facts.orders)
            )
        except CommandError as error:
            facts.problems.append(f"latencies are missing: {error}")
        return facts

    async def _compare(self, client: ControlClient, facts: _Facts) -> None:
        facts.orders = await client.orders(since_ns=self._plan.origin_ns)
        status = await client.status()
        facts.account = next(iter(status.accounts), None)
        if self._plan.simulated is None:
            return
        login_id, balance = ("", "") if facts.account is None else (facts.account.login_id, facts.account.balance)
        facts.reading = await read_ledger(self._plan.ports.simulator, login_id)
        facts.differences = differences(
            _claims(facts.orders), facts.reading.ledger, Decimal(balance) if balance else None
        )

    async def _report(self, settled: int) -> reports_pb2.Report | None:
        """The report over the run, once the last traces have come (or have had the time to)."""
        clock = self._fleet_clock
        period_s = period_over(self._plan.origin_ns // NS_PER_S, int(clock.now_s()))
        began_s = self._clock.now_s()
        async with ReportsClient(self._plan.ports.metrics, self._plan.run_dir.token(OPERATOR)) as client:
            while True:
                report = await client.report(at_epoch_s=int(clock.now_s()), period_s=period_s)
                if report.completeness.orders_traced >= settled or self._clock.now_s() - began_s > AGREE_WALL_S / 2:
                    return report
                await self._clock.sleep(_ASK_EVERY_S)

    def _sum_up(self, facts: _Facts, poller: StatusPoller, problems: list[str], duration_s: float) -> RunSummary:
        restarts: Counter[str] = Counter()
        for child in self._supervisor.children:
            restarts[bot_of(child.name)] += child.restarts
        match, reason = _ledger_match(self._plan, facts)
        if match is False and restarts["simulator"]:
            reason = f"the simulator was started again, with an empty account; {reason}"
        if match is False:
            problems = [*problems, f"the ledger does not match: {reason}"]
        status: Sequence[control_pb2.BotStatus] = facts.account.bots if facts.account is not None else ()
        bots = bots_of((bot.name for bot in self._fleet.bots), facts.orders, status, facts.report, restarts)
        first_ns = first_settled_ns(facts.orders)
        rejected = [
            0 if facts.account is None else facts.account.rejected_by_deriv,
            0 if facts.reading is None else facts.reading.rate_refused,
            0 if facts.report is None else facts.report.rejected_by_deriv,
        ]
        exit_code: Literal[0, 1] = 1 if problems else 0
        return RunSummary(
            fleet=self._fleet.fleet,
            account=self._fleet.accounts[0].key,
            dialect=self._fleet.accounts[0].dialect,
            simulated=self._plan.simulated is not None,
            speed=self._plan.speed,
            started=datetime.fromtimestamp(self._began_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds"),
            duration_s=round(duration_s, 3),
            seconds_to_first_trade=None if first_ns is None else self._wall_s_since_began(first_ns),
            bots=bots,
            quota=QuotaSummary(
                utilisation=max(poller.utilisation.values(), default=0.0),
                utilisation_by_window=dict(sorted(poller.utilisation.items())),
                rejected_by_deriv=max(rejected),
            ),
            restarts={name: count for name, count in restarts.items() if count},
            ledger_match=match,
            ledger_reason=reason,
            ledger_differences=facts.differences[:20],
            profit=f"{sum((Decimal(bot.profit) for bot in bots), Decimal()):.2f}",
            exit_code=exit_code,
            problems=problems,
        )

    def _wall_s_since_began(self, fleet_ns: int) -> float:
        """Wall seconds from the start of the command to an instant of fleet time."""
        wall_ns = self._plan.origin_ns + (fleet_ns - self._plan.origin_ns) / self._plan.speed
        return round((wall_ns - self._began_ns) / NS_PER_S, 3)


def _claims(orders: Iterable[orders_pb2.Order]) -> list[OrderClaim]:
    def amount(text: str) -> Decimal | None:
        return Decimal(text) if text else None

    return [
        OrderClaim(
            order_id=order.order_id,
            contract_id=order.contract_id,
            buy_price=amount(order.buy_price),
            sell_price=amount(order.sell_price),
            profit=amount(order.profit),
            is_settled=order.state == orders_pb2.ORDER_STATE_SETTLED,
        )
        for order in orders
        if order.contract_id
    ]


def _ledger_match(plan: Plan, facts: _Facts) -> tuple[bool | None, str]:
    if plan.simulated is None:
        return None, "a real account has no ledger that could be read apart from the gateway"
    if facts.reading is None:
        return False, "it could not be read"
    if facts.differences:
        more = len(facts.differences) - 1
        return False, facts.differences[0] + (f" (and {more} more)" if more else "")
    return True, ""


def problems_of(children: Iterable[ChildView]) -> list[str]:
    """What is wrong with how children ended, one line each.

    A process that SIGTERM met while it was starting dies of it, which is no fault.
    """
    found: list[str] = []
    for child in children:
        if child.killed:
            found.append(f"{child.name} did not end within ten seconds and was killed")
        elif child.exit_code not in (0, _SIGTERM, None):
            found.append(f"{child.name} ended with exit code {child.exit_code}")
    return found
