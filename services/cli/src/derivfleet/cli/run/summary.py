"""What a run came to: the figures of ``summary.json``. Pure."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from derivfleet.v1 import control_pb2, reports_pb2

__all__ = ["BotSummary", "Latency", "MemorySummary", "QuotaSummary", "RunSummary", "bots_of", "first_settled_ns"]


LIMIT_REACHED = "LIMIT_REACHED"
"""The gateway's code for a purchase that gets no turn before its deadline."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Latency(_Part):
    """From the bot's call to the gateway's answer, in milliseconds of fleet time; None if none was measured."""

    p50: float | None = None
    p99: float | None = None


class BotSummary(_Part):
    """One bot. Money is a decimal string."""

    bot: str
    ops: int
    """Its calls to the gateway."""
    buys: int
    """Orders that bought a contract."""
    settled: int
    wins: int
    profit: str
    errors: int
    """Orders that Deriv rejected, and orders that were sent and never found in its records."""
    latency_ms: Latency
    denied: int = 0
    """Orders that the gateway itself refused, before Deriv saw them: a limit, a deadline, no connection. No money
    moved, and Deriv counted no call."""
    denied_by_code: dict[str, int] = Field(default_factory=dict[str, int])
    open: int = 0
    restarts: int = 0


class QuotaSummary(_Part):
    """How near the run came to Deriv's limits."""

    utilisation: float
    """The highest of all windows: 1 is all that Deriv allows."""
    utilisation_by_window: dict[str, float]
    """The highest of each window, as ``trade/60s``."""
    rejected_by_deriv: int
    """Calls refused for rate: the larger of the gateway's count and the simulator's own."""


class MemorySummary(_Part):
    """The memory of all processes at the moment when they took most together, in megabytes (1,000,000 bytes).

    Of memory that several processes share, each counts its part (PSS), so the sum counts nothing twice.
    """

    total_mb: float
    by_process_mb: dict[str, float]
    """By the process's name; ``derivfleet up`` is the command itself."""


class RunSummary(_Part):
    """``summary.json``."""

    fleet: str
    account: str
    dialect: str
    simulated: bool
    speed: float
    started: str
    """ISO 8601, UTC, of the wall."""
    duration_s: float
    """Wall seconds from the start of the command to the end of trading."""
    seconds_to_first_trade: float | None
    """Wall seconds from the start of the command to the first settlement."""
    bots: list[BotSummary]
    quota: QuotaSummary
    restarts: dict[str, int] = Field(default_factory=dict[str, int])
    """How often each process was started again; the others not at all."""
    memory: MemorySummary | None = None
    """None if it was not measured."""
    ledger_match: bool | None
    """None if there is no ledger to compare with."""
    ledger_reason: str = ""
    """Why it is not true."""
    ledger_differences: list[str] = Field(default_factory=list[str])
    profit: str
    exit_code: Literal[0, 1, 2]
    problems: list[str] = Field(default_factory=list[str])
    """Why the exit code is not 0."""


def bots_of(
    names: Iterable[str],
    orders: Sequence[orders_pb2.Order],
    status: Iterable[control_pb2.BotStatus],
    report: reports_pb2.Report | None,
    restarts: Mapping[str, int],
) -> list[BotSummary]:
    """Figures of each bot: money and counts from the orders, times from metrics, calls from whoever saw more."""
    told = () if report is None else report.bots
    # The gateway forgets its count when it is started again; the metrics service lacks what was never exported.
    calls = {one.bot: one.ops for one in told}
    for one in status:
        calls[one.bot] = max(one.ops, calls.get(one.bot, 0))
    latencies = {one.bot: _buy_latency(one) for one in told}
    refused = {one.bot: sum(error.count for error in one.errors if error.code == LIMIT_REACHED) for one in told}
    return [
        _bot(name, orders, calls.get(name, 0), refused.get(name, 0), latencies.get(name), restarts.get(name, 0))
        for name in names
    ]


def _bot(
    name: str, orders: Sequence[orders_pb2.Order], ops: int, refused: int, latency: Latency | None, restarts: int
) -> BotSummary:
    own = [order for order in orders if order.bot == name]
    settled = [order for order in own if order.state == orders_pb2.ORDER_STATE_SETTLED]
    profits = [Decimal(order.profit or "0") for order in settled]
    failed = (orders_pb2.ORDER_STATE_REJECTED, orders_pb2.ORDER_STATE_NOT_FOUND)
    errors = sum(order.state in failed for order in own)
    denied = Counter(order.error_code for order in own if order.state == orders_pb2.ORDER_STATE_DENIED)
    still_open = len(own) - len(settled) - errors - denied.total()
    # What is refused on arrival is no order and in no list of them; reports count it with those that waited in vain.
    denied |= Counter({LIMIT_REACHED: refused})
    return BotSummary(
        bot=name,
        ops=ops,
        buys=sum(order.contract_id > 0 for order in own),
        settled=len(settled),
        wins=sum(profit > 0 for profit in profits),
        profit=f"{sum(profits, Decimal()):.2f}",
        errors=errors,
        latency_ms=latency or Latency(),
        denied=denied.total(),
        denied_by_code=dict(sorted(denied.items())),
        open=still_open,
        restarts=restarts,
    )


def _buy_latency(bot: reports_pb2.BotReport) -> Latency | None:
    for phase in bot.phases:
        if phase.phase == "buy" and phase.count:
            return Latency(p50=round(phase.p50_ms, 1), p99=round(phase.p99_ms, 1))
    return None


def first_settled_ns(orders: Iterable[orders_pb2.Order]) -> int | None:
    """When the first order settled, in fleet time."""
    return min((order.settled_time_ns for order in orders if order.settled_time_ns), default=None)
