"""How money came in: one period against the one before it, and a row of them. Pure: sums in, plain data out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

__all__ = ["PERIODS", "SLOTS_S", "SlotSum", "profit_by_period_json", "slot_sums"]

SLOTS_S = {"window": 1, "hour": 12, "day": 300}
"""The length of a slot in each kind of period. Offsets of time zones are whole quarters of an hour."""
PERIODS = 14
"""How many periods stand in a row, the asked one last."""

# Stakes and payouts take few values, so SQL counts equal profits and only the counts are multiplied: money stays exact.
_SUMS = """
SELECT settled_ns / ?1, profit, COUNT(*) FROM orders
WHERE account = ?2 AND settled_ns >= ?3 AND settled_ns < ?4 AND settled_ns != 0 GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class SlotSum:
    """What settled in one slot: ``slot`` counts from 1970, in units of the slots' length."""

    slot: int
    settled: int
    wins: int
    profit: Decimal


def slot_sums(connection: sqlite3.Connection, account: str, start_s: int, end_s: int, slot_s: int) -> list[SlotSum]:
    """OrderSums over the settlements of an account in [start, end), one for each slot and profit."""
    rows = connection.execute(_SUMS, (slot_s * NS_PER_S, account, start_s * NS_PER_S, end_s * NS_PER_S))
    return [
        SlotSum(slot, count, count if Decimal(profit) > 0 else 0, Decimal(profit) * count)
        for slot, profit, count in rows
    ]


def profit_by_period_json(sums: Sequence[SlotSum], periods: Sequence[tuple[int, int]], slot_s: int) -> dict[str, Any]:
    """Periods (begin and end in seconds, oldest first), each summed up, and the curve of the last two.

    Slots must fill every period exactly. A curve is a list of ``[seconds after the period's beginning, profit since
    then]``, one a slot in which something settled, at the slot's end.
    """
    by_period = [_between(sums, start_s // slot_s, end_s // slot_s) for start_s, end_s in periods]
    return {
        "slot_s": slot_s,
        "periods": [
            _period_json(found, start_s, end_s) for found, (start_s, end_s) in zip(by_period, periods, strict=True)
        ],
        "course": _curve(by_period[-1], periods[-1][0] // slot_s, slot_s),
        "before": _curve(by_period[-2], periods[-2][0] // slot_s, slot_s) if len(periods) > 1 else [],
    }


def _between(sums: Sequence[SlotSum], first: int, end: int) -> list[SlotSum]:
    return [one for one in sums if first <= one.slot < end]


def _period_json(found: Sequence[SlotSum], start_s: int, end_s: int) -> dict[str, Any]:
    return {
        "start_s": start_s,
        "end_s": end_s,
        "settled": sum(one.settled for one in found),
        "wins": sum(one.wins for one in found),
        "profit": f"{sum((one.profit for one in found), Decimal(0)):f}",
    }


def _curve(sums: Sequence[SlotSum], first: int, slot_s: int) -> list[list[int | str]]:
    by_slot: dict[int, Decimal] = {}
    for one in sums:
        by_slot[one.slot] = by_slot.get(one.slot, Decimal(0)) + one.profit
    slots = sorted(by_slot)
    totals = accumulate(by_slot[slot] for slot in slots)
    return [[(slot - first + 1) * slot_s, f"{total:f}"] for slot, total in zip(slots, totals, strict=True)]
