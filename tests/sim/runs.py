"""One seed played and checked, many seeds beside each other, and the counts of all of them."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import structlog

from tests.sim.ledger_check import COUNTS, check_ledger
from tests.sim.plan import Plan
from tests.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, MutableMapping

__all__ = ["Outcome", "Totals", "play", "played", "quiet"]


@dataclass(slots=True)
class Outcome:
    """What became of one run."""

    seed: int
    orders: int
    bought: int = 0
    faulted: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    crashes: Counter[str] = field(default_factory=Counter[str])
    pairs: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])
    unresolved: list[str] = field(default_factory=list[str])
    story: list[str] = field(default_factory=list[str])

    @property
    def kinds(self) -> set[str]:
        """The kinds of its problems."""
        return {problem.partition(":")[0] for problem in self.problems}


@contextmanager
def quiet(problems: list[str]) -> Generator[None]:
    """The gateway's log goes nowhere, but what it had not foreseen is a problem."""

    def take(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("exc_info"):
            problems.append(f"unforeseen: {event['event']}")
        raise structlog.DropEvent

    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


def play(plan: Plan, *, with_story: bool = False) -> Outcome:
    """Play a plan and check what came of it."""
    outcome = Outcome(plan.seed, len(plan.orders))
    world = World(plan, with_story=with_story)
    with quiet(outcome.problems):
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding of this run
            outcome.problems.append(f"broken: {type(error).__name__}: {error}")
    check = check_ledger(world)
    outcome.problems += check.problems
    outcome.unresolved = check.unresolved
    outcome.bought = len(world.bought)
    outcome.faulted = sum(bool(kinds) for kinds in world.hits.values())
    outcome.faults = Counter(chain.from_iterable(world.hits.values()))
    outcome.crashes, outcome.pairs = world.crashes, world.pairs
    outcome.story = world.story or []
    return outcome


def _play_seed(seed: int, orders: int) -> Outcome:
    return play(Plan.of_seed(seed, orders))


def _tidy_less() -> None:
    """Let the collector leave alone what stays, and look less often at the many small things that do not."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def played(seeds: Iterable[int], orders: int, jobs: int) -> Generator[Outcome]:
    """Play seeds beside each other, ``orders`` each; in their order."""
    if jobs == 1:
        _tidy_less()
        for seed in seeds:
            yield _play_seed(seed, orders)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _tidy_less) as pool:
        todo = list(seeds)
        yield from pool.map(_play_seed, todo, [orders] * len(todo), chunksize=4)


@dataclass(slots=True)
class Totals:
    """The counts of many runs."""

    seeds: int = 0
    orders: int = 0
    bought: int = 0
    faulted: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    crashes: Counter[str] = field(default_factory=Counter[str])
    pairs: Counter[str] = field(default_factory=Counter[str])
    problems: Counter[str] = field(default_factory=Counter[str])
    unresolved: int = 0
    failed: list[Outcome] = field(default_factory=list[Outcome])

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        self.seeds += 1
        self.orders += outcome.orders
        self.bought += outcome.bought
        self.faulted += outcome.faulted
        self.faults += outcome.faults
        self.crashes += outcome.crashes
        self.pairs += outcome.pairs
        self.problems += Counter(problem.partition(":")[0] for problem in outcome.problems)
        self.unresolved += len(outcome.unresolved)
        if outcome.problems:
            self.failed.append(outcome)

    def as_json(self) -> dict[str, object]:
        """What is written down."""
        return {
            "seeds": self.seeds,
            "orders": self.orders,
            "bought": self.bought,
            "faulted": self.faulted,
            "faults": dict(sorted(self.faults.items())),
            "crash_points": dict(sorted(self.crashes.items())),
            "pairs": dict(sorted(self.pairs.items())),
            **{kind: self.problems[kind] for kind in COUNTS},
            "unresolved": self.unresolved,
            "failed_seeds": [outcome.seed for outcome in self.failed],
        }
