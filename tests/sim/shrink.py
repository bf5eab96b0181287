"""The shortest story of a failure: what can be left out of a plan without it going away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.sim.runs import play

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.plan import Plan

__all__ = ["Part", "part_of", "shrunk"]

MOST_TRIES = 400


@dataclass(frozen=True, slots=True)
class Part:
    """Which orders, spells of trouble and crashes of a plan are left, by their places in it."""

    orders: tuple[int, ...]
    disturbances: tuple[int, ...]
    crashes: tuple[int, ...]

    @classmethod
    def whole(cls, plan: Plan) -> Part:
        """All of it."""
        return cls(*(tuple(range(len(items))) for items in (plan.orders, plan.disturbances, plan.crashes)))

    @classmethod
    def read(cls, text: str) -> Part:
        """As written by ``str``. Raises ValueError."""
        orders, disturbances, crashes = (
            tuple(int(place) for place in part.split(",") if place) for part in text.split("/")
        )
        return cls(orders, disturbances, crashes)

    def __str__(self) -> str:
        return "/".join(",".join(map(str, places)) for places in (self.orders, self.disturbances, self.crashes))

    @property
    def items(self) -> list[tuple[str, int]]:
        """All of it in one list."""
        return [(name, place) for name in ("disturbances", "crashes", "orders") for place in getattr(self, name)]

    @classmethod
    def of_items(cls, items: list[tuple[str, int]]) -> Part:
        """The other way round."""
        return cls(
            *(tuple(place for name, place in items if name == kind) for kind in ("orders", "disturbances", "crashes"))
        )


def part_of(plan: Plan, part: Part) -> Plan:
    """A plan of which only a part is left."""
    return replace(
        plan,
        orders=tuple(plan.orders[place] for place in part.orders),
        disturbances=tuple(plan.disturbances[place] for place in part.disturbances),
        crashes=tuple(plan.crashes[place] for place in part.crashes),
    )


def shrunk(plan: Plan, kinds: set[str]) -> Part:
    """A small part of a plan that fails in one of the same ways."""
    tries = 0

    def fails(items: list[tuple[str, int]]) -> bool:
        nonlocal tries
        tries += 1
        return tries <= MOST_TRIES and bool(play(part_of(plan, Part.of_items(items))).kinds & kinds)

    return Part.of_items(_least(Part.whole(plan).items, fails))


def _least(items: list[tuple[str, int]], fails: Callable[[list[tuple[str, int]]], bool]) -> list[tuple[str, int]]:
    """Leave out ever smaller pieces as long as it still fails."""
    size = max(1, len(items) // 2)
    while True:
        start, before = 0, len(items)
        while start < len(items):
            rest = items[:start] + items[start + size :]
            if rest and fails(rest):
                items = rest
            else:
                start += size
        if size == 1 and len(items) == before:
            return items
        size = max(1, size // 2)
