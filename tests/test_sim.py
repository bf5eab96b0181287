"""The simulation of orders: it is deterministic, it catches mistakes, and it finds none in the gateway.

The long runs are processes of their own, so that nothing slows them by measuring.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.gateway.orders.registry import OrderRegistry
from tests.sim.ledger_check import COUNTS, check_ledger
from tests.sim.mutants import MUTANTS, Catch, Mutant, hunt
from tests.sim.plan import KINDS, POINTS, CrashPlan, Plan
from tests.sim.runs import play, quiet
from tests.sim.shrink import Part, part_of, shrunk
from tests.sim.virtual_time import NS_PER_S, START_NS, Loop, StuckError, Timeline, VirtualClock
from tests.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

ROOT = Path(__file__).parents[1]


def run(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the simulation beside the tests, unmeasured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_"))}
    return subprocess.run(  # noqa: S603 - this interpreter, and our own arguments
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


def test_time_jumps_to_what_comes_next_and_never_waits() -> None:
    timeline = Timeline()
    loop = Loop(timeline)
    clock = VirtualClock(timeline)
    seen: list[tuple[str, float]] = []

    def note(what: str) -> None:
        seen.append((what, (timeline.now_ns - START_NS) / NS_PER_S))

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        note("slept")

    async def main() -> None:
        timeline.after(50, lambda: note("beside"))
        async with asyncio.timeout(3600):
            await asyncio.gather(sleep(100), sleep(10))
        with pytest.raises(TimeoutError):
            async with clock.timeout(5):
                await clock.sleep(6)
        note("end")

    loop.run_until_complete(main())
    loop.close()
    assert seen == [("slept", 10), ("beside", 50), ("slept", 100), ("end", 105)]


def test_a_process_that_stands_still_does_nothing_while_the_world_goes_on() -> None:
    timeline = Timeline()
    loop = Loop(timeline)
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        timeline.after(2, lambda: seen.append(("beside", timeline.now_ns)))
        await asyncio.sleep(0.5)
        loop.stands_until_ns = START_NS + 3 * NS_PER_S
        await asyncio.sleep(0.5)
        seen.append(("process", timeline.now_ns))

    loop.run_until_complete(main())
    loop.close()
    assert seen == [("beside", START_NS + 2 * NS_PER_S), ("process", START_NS + 3 * NS_PER_S)]


async def never() -> None:
    await asyncio.Event().wait()


async def spin() -> None:
    while True:  # noqa: ASYNC110 - that is the mistake
        await asyncio.sleep(0)


@pytest.mark.parametrize(("what", "told"), [(never, "ever happen"), (spin, "never ends")])
def test_what_can_never_end_is_told(what: Callable[[], Coroutine[None, None, None]], told: str) -> None:
    loop = Loop(Timeline())
    task = loop.create_task(what())
    with pytest.raises(StuckError, match=told):
        loop.run_until_complete(task)
    task.cancel()
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_the_same_seed_tells_the_same_story_byte_for_byte() -> None:
    one, other = (run("tests.sim", "--seed", "3", "--story", hash_seed=hash_seed) for hash_seed in ("1", "2"))
    assert one.stdout == other.stdout
    assert one.stdout.count("\n") > 1_000


@pytest.mark.parametrize("point", POINTS)
def test_the_gateway_dies_at_every_point_and_the_next_one_goes_on(point: str) -> None:
    plan = Plan.of_seed(5, 60)
    crash = CrashPlan(point, 3, 0.5)
    world = World(Plan(plan.seed, plan.orders, (), (crash, crash)), with_story=True)
    problems: list[str] = []
    with quiet(problems):
        world.run()
    assert problems + check_ledger(world).problems == []
    assert world.crashes[point] == 2
    story = world.story or []
    assert sum("a gateway starts" in line for line in story) >= 3
    assert all(asker.done for asker in world.bots.values())


def played(orders: int, jobs: int, target: Path) -> dict[str, Any]:
    """Play so many orders; the figures, which tell of nothing wrong."""
    ended = run("tests.sim", "--orders", str(orders), "--jobs", str(jobs), "--target", str(target))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures: dict[str, Any] = json.loads(target.read_text())
    assert {kind: figures[kind] for kind in COUNTS} == dict.fromkeys(COUNTS, 0)
    assert figures["orders"] == orders
    assert figures["bought"] > orders / 4
    assert figures["faulted"] >= 0.2 * orders
    assert figures["unresolved"] <= 0.0001 * orders
    return figures


def test_a_thousand_orders_end_as_the_ledger_says(tmp_path: Path) -> None:
    played(1_000, 1, tmp_path / "sim.json")


@pytest.mark.long
@pytest.mark.timeout(900)  # a minute where nothing else runs
def test_twenty_thousand_orders_end_as_the_ledger_says(tmp_path: Path) -> None:
    figures = played(20_000, min(2, os.cpu_count() or 1), tmp_path / "sim.json")
    never = [f"{kind} × {point}" for kind in KINDS for point in POINTS if not figures["pairs"].get(f"{kind} × {point}")]
    assert never == []


@pytest.mark.long
@pytest.mark.timeout(900)  # half a minute where nothing else runs
def test_mistakes_are_caught(tmp_path: Path) -> None:
    target = tmp_path / "mutants.json"
    ended = run("tests.sim.mutants", "--rule", "1", "--rule", "4", "--rule", "21", "--target", str(target))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(target.read_text())
    assert set(found["names"]) == {mutant.name for mutant in MUTANTS if mutant.rule in (1, 4, 21)}
    assert found["caught"] == found["total"] == len(found["names"])
    assert {mutant.rule for mutant in MUTANTS} == set(range(1, 24))
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mistake_that_is_none_is_not_caught() -> None:
    same = Mutant(1, "none", ((OrderRegistry, "move", lambda move: move),))
    assert hunt(same, most_orders=300) == Catch(False, 300, "")


def test_a_failure_is_told_as_a_short_story_that_can_be_told_again() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "settled with the payout")
    plan = Plan.of_seed(hunt(mutant).seed, 100)
    with mutant.alive():
        kinds = play(plan).kinds
        part = shrunk(plan, kinds)
        stories = [play(part_of(plan, Part.read(str(part))), with_story=True).story for _ in range(2)]
        assert stories[0] == stories[1]
    assert len(part.orders) == 1, part
    assert len(stories[0]) < 30
    assert _problems(plan, part) == []


def _problems(plan: Plan, part: Part) -> Sequence[str]:
    return play(part_of(plan, part)).problems
