"""Plays cases by the million: each follows from seed, target and number, is watched, and made small if it fails.

Cases in this machine's own memory are played in processes that the run watches: one that stands still on a case is
ended, and goes on after it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import queue
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.fuzz.account_target import AccountTarget
from tests.fuzz.call_target import CallTarget
from tests.fuzz.shrink import shrunk
from tests.fuzz.targets import LOGGED_ERRORS, ConnectionTarget, FleetTarget, FrameTarget, chance_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnContext, SpawnProcess

    from tests.fuzz.targets import Target

__all__ = ["SHARES", "TARGETS", "Failure", "Figures", "FuzzRun", "play_one", "shares_of", "smallest"]

TARGETS: dict[str, Callable[[], Target]] = {
    "frames": FrameTarget,
    "connection": ConnectionTarget,
    "account": AccountTarget,
    "fleet": FleetTarget,
}
CALLS = CallTarget.name
SHARES = {"frames": 65, "connection": 20, "account": 1, "fleet": 10, CALLS: 4}
"""Of a hundred cases."""
CPU_S = 2.0
"""How much of a processor one case may take."""
STILL_WALL_S = 30.0
"""How long a process may stand still on one before it is ended; it may have to wait for a processor."""
SHRINK_S = 10.0
"""How long is tried to make a failing case small."""
CALLS_AT_ONCE = 24
LOOK_EVERY_S = 0.2
MOST_TOLD = 20
MOST_SHOWN = 400
WARM_SHARE = 0.1
"""Of the cases of a process, before its memory is looked at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that must not be, to be had again with ``--replay target:number --seed seed``."""

    target: str
    number: int
    kind: str
    """crash, hang, or death (of the process)."""
    error: str
    where: str = ""
    small: str = ""
    """The least that fails so, as Python writes bytes."""


@dataclass(slots=True)
class Figures:
    """What came of a target's cases."""

    cases: int = 0
    crashes: int = 0
    hangs: int = 0
    rss_growth_mb: float = 0.0
    """The most of any process that played them (for calls: of the gateway), after the first tenth."""
    busy_s: float = 0.0


_TARGET, _NUMBER, _BEAT, _COUNTS = range(4)
"""Where in a worker's memory it is told which target and case is being played, that it is not standing still, and, from
the last on, how many cases of each target were played."""


@dataclass(slots=True)
class _Worker:
    """One process after the other, each going on where the one before it was ended."""

    index: int
    at: Any
    process: SpawnProcess
    moved_s: float
    seen: tuple[int, ...] = ()

    def stands(self, now_s: float) -> bool:
        """Whether it has been on the same case for too long."""
        seen = tuple(self.at[:_COUNTS])
        if seen != self.seen:
            self.seen, self.moved_s = seen, now_s
        return now_s - self.moved_s > STILL_WALL_S


@dataclass(slots=True)
class FuzzRun:
    """All cases of a run."""

    cases: int
    seed: int
    jobs: int
    folder: Path
    only: tuple[str, ...] = ()
    show: Callable[[int], None] = lambda _: None
    figures: dict[str, Figures] = field(default_factory=dict[str, Figures])
    failures: list[Failure] = field(default_factory=list[Failure])
    _seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def run(self) -> None:
        """Play all; what came of it is in ``figures`` and ``failures``."""
        shares = shares_of(self.cases, self.only)
        self.figures = {name: Figures() for name in shares}
        local = {name: cases for name, cases in shares.items() if name in TARGETS}
        parts = [self._workers(local)] if local else []
        if shares.get(CALLS):
            parts.append(self._calls(shares[CALLS]))
        await asyncio.gather(*parts)

    def _fail(self, failure: Failure) -> bool:
        """Count it; returns whether it is the first of its kind."""
        figures = self.figures[failure.target]
        if failure.kind == "hang":
            figures.hangs += 1
        else:
            figures.crashes += 1
        key = (failure.target, failure.where or failure.error)
        is_new = key not in self._seen
        self._seen.add(key)
        if is_new and len(self.failures) < MOST_TOLD:
            self.failures.append(failure)
        return is_new

    # In processes of the run's own

    async def _workers(self, shares: dict[str, int]) -> None:
        context = multiprocessing.get_context("spawn")
        out: Any = context.Queue()
        names = list(shares)
        workers: list[_Worker] = []
        for index in range(self.jobs):
            at: Any = context.Array("q", [0, index, 0] + [0] * len(names), lock=False)
            workers.append(_Worker(index, at, self._process(context, shares, index, at, out), time.monotonic()))
        under_way = set(range(self.jobs))
        while under_way:
            await asyncio.sleep(LOOK_EVERY_S)
            self._hear(out)
            for worker in (workers[index] for index in sorted(under_way)):
                stands = worker.process.exitcode is None and worker.stands(time.monotonic())
                if stands:
                    worker.process.kill()
                    worker.process.join()
                if worker.process.exitcode == 0:
                    under_way.discard(worker.index)
                elif worker.process.exitcode is not None:
                    target, number = int(worker.at[_TARGET]), int(worker.at[_NUMBER])
                    kind = "hang" if stands else "death"
                    what = "stood still" if stands else f"ended with {worker.process.exitcode}"
                    self._fail(Failure(names[target], number, kind, f"its process {what}", f"{kind} {number}"))
                    worker.at[_COUNTS + target] += 1
                    worker.at[_NUMBER] = number + self.jobs
                    worker.process = self._process(context, shares, worker.index, worker.at, out)
            for position, name in enumerate(names):
                self.figures[name].cases = sum(worker.at[_COUNTS + position] for worker in workers)
            self.show(sum(figures.cases for figures in self.figures.values()))
        await asyncio.sleep(LOOK_EVERY_S)
        self._hear(out)

    def _process(self, context: SpawnContext, shares: dict[str, int], index: int, at: Any, out: Any) -> SpawnProcess:
        arguments = (shares, self.seed, index, self.jobs, at, out)
        work: Any = _play_worker
        process = context.Process(target=work, args=arguments, name=f"worker {index}", daemon=True)
        process.start()
        return process

    def _hear(self, out: Any) -> None:
        while True:
            try:
                said = out.get_nowait()
            except queue.Empty:
                return
            if isinstance(said, Failure):
                self._fail(said)
                continue
            name, busy_s, growth_mb = said
            figures = self.figures[name]
            figures.busy_s += busy_s
            figures.rss_growth_mb = max(figures.rss_growth_mb, growth_mb)

    # Over gRPC

    async def _calls(self, cases: int) -> None:
        figures = self.figures[CALLS]
        async with CallTarget(self.folder) as target:
            began_s = time.monotonic()
            numbers = iter(range(cases))
            rss: list[int] = []
            pid = target.gateway

            async def caller() -> None:
                for number in numbers:
                    await self._call(target, number)
                    figures.cases += 1
                    if target.gateway == pid and pid is not None and number % max(1, cases // 50) == 0:
                        rss.append(psutil.Process(pid).memory_info().rss)

            async def watch() -> None:
                while True:
                    if not await target.is_alive():
                        self._fail(Failure(CALLS, figures.cases, "hang", "the gateway does not answer"))
                    await asyncio.sleep(1.0)

            watching = asyncio.create_task(watch())
            try:
                await asyncio.gather(*(caller() for _ in range(CALLS_AT_ONCE)))
            finally:
                watching.cancel()
            figures.busy_s = time.monotonic() - began_s
            warm = rss[max(1, round(len(rss) * WARM_SHARE)) :]
            figures.rss_growth_mb = (warm[-1] - warm[0]) / 1e6 if len(warm) > 1 else 0.0
            if target.processes is not None:
                for end in target.processes.unexpected_exits:
                    self._fail(
                        Failure(CALLS, figures.cases, "death", f"{end.name} ended ({end.exit_code}): {end.line}")
                    )
            for line in target.log_of_errors():
                self._fail(Failure(CALLS, figures.cases, "crash", line, line.partition('"event"')[2][:60]))

    async def _call(self, target: CallTarget, number: int) -> None:
        case = target.make(chance_of(self.seed, CALLS, number))
        problem = await _problem_of(target, case)
        if not problem:
            return

        async def fails(smaller: bytes) -> bool:
            return await _problem_of(target, smaller) == problem

        first = (CALLS, problem) not in self._seen
        small = await shrunk(case, fails, 60) if first else case
        self._fail(Failure(CALLS, number, "crash", problem, problem, repr(small)[:MOST_SHOWN]))


def shares_of(cases: int, only: tuple[str, ...] = ()) -> dict[str, int]:
    """How many cases each target gets."""
    shares = {name: share for name, share in SHARES.items() if not only or name in only}
    return {name: round(cases * share / sum(shares.values())) for name, share in shares.items()}


async def _problem_of(target: CallTarget, case: bytes) -> str:
    try:
        await target.throw(case)
    except AssertionError as error:
        return str(error)
    return ""


def play_one(target: Target, case: bytes) -> Failure | None:
    """Play one case; returns what was wrong, without target and number."""
    began_s = time.process_time()
    try:
        target.throw(case)
        heard = LOGGED_ERRORS.heard()
        if heard:
            return Failure("", 0, "crash", heard[:MOST_SHOWN], heard.partition("(")[0])
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        return Failure("", 0, "crash", f"{type(error).__name__}: {error}"[:MOST_SHOWN], where)
    took_s = time.process_time() - began_s
    return Failure("", 0, "hang", f"took {took_s:.1f} s of a processor", "slow") if took_s > CPU_S else None


def _play_worker(shares: dict[str, int], seed: int, index: int, jobs: int, at: Any, out: Any) -> None:
    """The work of one process: every ``jobs``-th case of each target, from where its memory says on."""
    LOGGED_ERRORS.listen()
    begun_at, first = at[_TARGET], at[_NUMBER]
    for position, (name, cases) in enumerate(shares.items()):
        if position < begun_at:
            continue
        at[_TARGET] = position
        numbers = range(first if position == begun_at else index, cases, jobs)
        with TARGETS[name]() as target:
            out.put((name, *_play_target(name, target, numbers, seed, at, out)))
    out.close()
    out.join_thread()


def _play_target(name: str, target: Target, numbers: range, seed: int, at: Any, out: Any) -> tuple[float, float]:
    """Returns how long it took of a processor, and by how many MB the process grew after the first tenth."""
    process = psutil.Process()
    began_s, warm_rss, told = time.process_time(), 0, set[str]()
    for count, number in enumerate(numbers):
        at[_NUMBER] = number
        case = target.make(chance_of(seed, name, number))
        found = play_one(target, case)
        if found is not None:
            small = case if found.where in told else smallest(target, case, found, at)
            told.add(found.where)
            out.put(Failure(name, number, found.kind, found.error, found.where, repr(small)[:MOST_SHOWN]))
        at[_COUNTS + at[_TARGET]] += 1
        if count == round(len(numbers) * WARM_SHARE):
            gc.collect()
            warm_rss = process.memory_info().rss
    gc.collect()
    growth_mb = (process.memory_info().rss - warm_rss) / 1e6 if warm_rss else 0.0
    return time.process_time() - began_s, growth_mb


def smallest(target: Target, case: bytes, found: Failure, at: Any) -> bytes:
    """The least that fails as the case did; ``at`` is told that this does not stand still."""
    end_s = time.monotonic() + SHRINK_S

    async def fails(smaller: bytes) -> bool:
        at[_BEAT] += 1
        if time.monotonic() > end_s:
            return False
        again = play_one(target, smaller)
        return again is not None and again.where == found.where

    # Taken through by hand: it waits for nothing, and a target may have a loop and a database that are this thread's.
    try:
        shrunk(case, fails).send(None)
    except StopIteration as ended:
        small: bytes = ended.value
        return small
    raise RuntimeError("making a case small has waited for something")
