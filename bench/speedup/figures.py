"""What a run comes to: figures from the simulator's ledger, and from what the bots say of their waiting."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bench.percentiles import percentile
from derivfleet.common.clock import NS_PER_S
from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.speedup.bot_logs import BotLog
    from bench.speedup.hour import Hour
    from derivfleet.common.fleet import Fleet
    from derivfleet.deriv.limits import Bucket

__all__ = ["Figures", "Purchase", "Run", "figures_of", "percentile", "purchases_of", "surplus"]

SKEW_WALL_NS = 30_000_000
"""How far two processes' clocks may differ by the wall: 19 ms were seen, where one was held up reading the time."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One contract of the ledger."""

    bot: str
    bought_s: int
    sold_s: int | None
    profit: Decimal
    """0 while it is open."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that is known of one design's hour."""

    hour: Hour
    purchases: Sequence[Purchase]
    accepted: Mapping[str, int]
    """Calls in the hour, by name, that the simulator let through."""
    refused: Mapping[str, int]
    """And those that it refused for their rate."""
    story: BotLog
    errors: int = 0
    """Lines in the logs of its processes that tell of an error."""
    late_ms: Sequence[float] = ()
    """How much later than asked a process that does nothing else was woken, by the wall's clock."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A design's hour in numbers. Times are fleet time."""

    trades: int
    """Contracts that were settled in the hour, doubles among them."""
    trades_per_min: float
    ops_per_s: float
    refused: int
    duplicates: int
    op_ms: dict[str, float]
    op_ms_by_call: dict[str, dict[str, float]]
    utilisation: float
    profit: str
    trade_calls: int
    """Calls that Deriv counts against the limit on trading."""
    trade_calls_per_trade: float
    most_trades_per_min: float
    """If it used every call that Deriv allows, at so many calls a trade: what better limits of its own could give."""
    bots: int
    """That had at least one trade."""
    trades_of_a_bot: dict[str, int]
    errors_logged: int
    machine_late_ms: dict[str, float]
    """How late the machine woke a process that waits, by the wall's clock: what a busy machine adds to every step."""
    settled_s: list[float]
    """When each trade was settled, in seconds of the hour."""


def purchases_of(account: Mapping[str, Any], fleet: Fleet) -> list[Purchase]:
    """The contracts of a ledger's account. Raises KeyError for one that no bot of the fleet could have wanted."""
    owners = {
        (bot.symbols[0], f"DIGIT{bot.parameters.side.upper()}", str(bot.parameters.barrier)): bot.name
        for bot in fleet.bots
        if bot.parameters.strategy == "digit_frequency"
    }
    found: list[Purchase] = []
    for contract in account["contracts"]:
        bot = owners[contract["symbol"], contract["contract_type"], contract["barrier"]]
        sold = contract["sell_price"]
        profit = Decimal() if sold is None else Decimal(sold) - Decimal(contract["buy_price"])
        found.append(Purchase(bot, contract["purchase_time"], contract["sell_time"], profit))
    return found


def surplus(decided_ns: Sequence[int], bought_s: Iterable[int], skew_ns: int) -> int:
    """How many of a bot's purchases go beyond the one that each of its decisions asked for.

    A bot decides anew only after its last trade is over, which lasts at least to the end of the second of its purchase.
    So a purchase belongs to the last decision before that end. A bot's clock may differ by ``skew_ns`` from the
    ledger's, so if the next decision falls on that end, either will do. As many purchases as possible are given to
    decisions, one each; a double is missed if such a neighbour came to nothing.
    """
    decided = sorted(decided_ns)
    too_many, free = 0, 0
    for second in sorted(bought_s):
        end_ns = (second + 1) * NS_PER_S
        first = max(0, bisect_left(decided, end_ns - skew_ns) - 1)
        last = bisect_left(decided, end_ns + skew_ns) - 1
        place = max(first, free)
        if place <= last:
            free = place + 1
        else:
            too_many += 1
    return too_many


def figures_of(run: Run, bucket: Bucket) -> Figures:
    """Judge a run. ``bucket`` is the one that counts trading; of its windows the one that allows the least binds."""
    hour = run.hour
    settled = [
        purchase for purchase in run.purchases if purchase.sold_s is not None and hour.has_second(purchase.sold_s)
    ]
    operations = [one for one in run.story.operations if hour.start_ns <= one.done_ns < hour.end_ns]
    calls = sum(count for name, count in run.accepted.items() if Call(name) in bucket.calls)
    allowed = hour.seconds * min(most / window_s for window_s, most in bucket.windows.items())
    by_call = {
        call: [one.took_ms for one in operations if one.call == call]
        for call in sorted({one.call for one in operations})
    }
    per_bot = Counter(purchase.bot for purchase in settled)
    bought_s: dict[str, list[int]] = {}
    for purchase in run.purchases:
        bought_s.setdefault(purchase.bot, []).append(purchase.bought_s)
    return Figures(
        trades=len(settled),
        trades_per_min=len(settled) / hour.minutes,
        ops_per_s=len(operations) / hour.seconds,
        refused=sum(run.refused.values()),
        duplicates=sum(
            surplus(run.story.decided_ns.get(bot, []), seconds, round(SKEW_WALL_NS * hour.speed))
            for bot, seconds in bought_s.items()
        ),
        op_ms=_spread([one.took_ms for one in operations]),
        op_ms_by_call={call: _spread(took) for call, took in by_call.items()},
        utilisation=calls / allowed,
        profit=f"{sum((purchase.profit for purchase in settled), Decimal()):.2f}",
        trade_calls=calls,
        trade_calls_per_trade=calls / len(settled) if settled else 0.0,
        most_trades_per_min=allowed / hour.minutes * len(settled) / calls if calls else 0.0,
        bots=len(per_bot),
        trades_of_a_bot={"least": min(per_bot.values(), default=0), "most": max(per_bot.values(), default=0)},
        errors_logged=run.errors,
        machine_late_ms=_spread(run.late_ms),
        settled_s=sorted(purchase.sold_s - hour.start_ns / 1e9 for purchase in settled if purchase.sold_s is not None),
    )


def _spread(took_ms: Sequence[float]) -> dict[str, float]:
    return {"p50": round(percentile(took_ms, 0.5), 1), "p99": round(percentile(took_ms, 0.99), 1)}
