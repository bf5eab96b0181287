"""Who gets what, if each may have some things only and likes some of them better (assignment, one row at a time)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["cheapest"]


def cheapest(costs: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Row of each column that is given away: as many as possible, and at the least cost if every row gets one.

    ``costs`` tells for each row what each column would cost that it may have. Each row takes the cheapest path on which
    those who had their columns before move to others.
    """
    given: dict[int, int] = {}
    for newest in range(len(costs)):
        spent, cost_of, taker = {newest: 0}, dict[int, int](), dict[int, int]()
        rows = deque([newest])
        while rows:  # a row may be met again by a cheaper path; there is no circle that pays, so this ends
            row = rows.popleft()
            for column, cost in costs[row].items():
                if column in cost_of and cost_of[column] <= spent[row] + cost:
                    continue
                cost_of[column], taker[column] = spent[row] + cost, row
                if (owner := given.get(column)) is not None:
                    spent[owner] = cost_of[column] - costs[owner][column]
                    rows.append(owner)
        free = [column for column in cost_of if column not in given]
        if not free:
            continue
        had = {row: column for column, row in given.items()}
        column = min(free, key=lambda one: (cost_of[one], one))
        while (row := taker[column]) != newest:
            given[column], column = row, had[row]
        given[column] = newest
    return given
