"""What is measured: each function runs one part and gives its rows."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.gateway.call_load import percentile
from bench.gateway.fleet_setup import FleetSetup
from bench.gateway.processes import Helper, Program, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["CLIENTS", "PARTS", "Row", "Testbed"]

Row = dict[str, Any]
CLIENTS = (1, 10, 100)
ROUNDS = 3
ROUND_S = 1.0
CACHED = ("check", "history")
REFUSED = ("buy", "live")
PATIENCE_S = 1.0
"""Deadline of a call that is to be refused: far shorter than the wait."""
FEW_CALLS = 8
"""A minute, so that everything is refused soon."""
FULL_RATE = 60.0
FULL_KINDS = ("buy", "live", "history")
MANY_CALLS = 10_000
"""A minute, so that nothing of the full path waits for a turn."""
FULL_ROUND_S = 5.0
WATCHERS = 1000
TICKS_SPEED = 2.0
"""A symbol ticks once in a fleet second."""
TICKS_S = 30.0
BAD_SPEED = 30.0
"""So that who does not read soon has much that it did not read."""
CALM_RATE = 50.0
CALM_S = 6.0
FLOOD = 10_000
CALM, FLOODER, DEAF, DYING = 50, 10, 20, 30
"""Indices of the bots that play these parts."""


@dataclass(slots=True)
class Testbed:
    """All that runs: the echo, the receiver of traces, the clients, and the houses as they are built."""

    stack: ExitStack
    folder: Path
    echo: Program
    echo_port: int
    sink_port: int
    caller: Helper
    second: Helper
    """A further process of callers, for what goes on at the same time."""

    @classmethod
    def start(cls, stack: ExitStack, folder: Path) -> Testbed:
        echo_port, sink_port = free_port(), free_port()
        echo = stack.enter_context(Program(f"bench.gateway.echo {echo_port}", folder / "echo.log"))
        sink = stack.enter_context(Program(f"bench.gateway.trace_sink {sink_port}", folder / "sink.log"))
        caller = stack.enter_context(Helper("bench.gateway.call_load", folder / "caller.log"))
        second = stack.enter_context(Helper("bench.gateway.call_load", folder / "second.log"))
        echo.wait_for_port(echo_port)
        sink.wait_for_port(sink_port)
        return cls(stack, folder, echo, echo_port, sink_port, caller, second)

    def setup(self, name: str, **how: Any) -> FleetSetup:
        return FleetSetup.start(self.stack, self.folder / name, f"127.0.0.1:{self.sink_port}", **how)


def _to(setup: FleetSetup) -> dict[str, Any]:
    return {"to": "gateway", "port": setup.gateway_port, "tokens": str(setup.tokens)}


def _measured(program: Program, caller: Helper, task: dict[str, Any], wanted: str) -> Row:
    """One round; only calls that end as ``wanted`` count."""
    before = program.usage
    taken = caller.run(**task)
    used_s = program.usage.cpu_s - before.cpu_s
    return {
        **taken,
        "calls_per_s": taken["outcomes"].get(wanted, 0) / taken["seconds"],
        "server_cpu_us": used_s / max(1, taken["calls"]) * 1e6,
        "server_cores": used_s / taken["seconds"],
    }


def _median(rows: list[Row]) -> Row:
    """The row whose rate is in the middle."""
    return sorted(rows, key=lambda row: row["calls_per_s"])[len(rows) // 2]


def cheap_calls(testbed: Testbed, step: Callable[[str], None]) -> list[Row]:
    """Cached reads and refusals beside the echo, in turn, so that what else the machine does hits all alike."""
    step("starting gateways for cached reads and refusals")
    open_setup = testbed.setup("open", bots=max(CLIENTS))
    tight_setup = testbed.setup("tight", bots=max(CLIENTS), calls=FEW_CALLS)
    for index in range(FEW_CALLS):  # use up what little there is
        exhausting = {**_to(tight_setup), "kinds": REFUSED, "patience_s": PATIENCE_S, "first": index, "seconds": 0.1}
        testbed.caller.run(**exhausting)
    tasks: dict[str, tuple[Program, dict[str, Any]]] = {
        "echo": (testbed.echo, {"to": "echo", "port": testbed.echo_port})
    }
    for kind in CACHED:
        tasks[f"cached {kind}"] = (open_setup.gateway, {**_to(open_setup), "kinds": [kind]})
    for kind in REFUSED:
        task = {**_to(tight_setup), "kinds": [kind], "patience_s": PATIENCE_S, "run": "refused"}
        tasks[f"refused {kind}"] = (tight_setup.gateway, task)
    rows: list[Row] = []
    for clients in CLIENTS:
        taken: dict[str, list[Row]] = {name: [] for name in tasks}
        for number in range(ROUNDS):
            step(f"cheap calls, {clients} clients, round {number + 1} of {ROUNDS}")
            for name, (program, task) in tasks.items():
                wanted = "refused" if name.startswith("refused") else "answered"
                whole = {**task, "clients": clients, "seconds": ROUND_S}
                taken[name].append(_measured(program, testbed.caller, whole, wanted))
        for name, rounds in taken.items():
            ratios = [one["calls_per_s"] / echo["calls_per_s"] for one, echo in zip(rounds, taken["echo"], strict=True)]
            rows.append(
                {"part": name, "clients": clients, **_median(rounds), "ratio_to_echo": statistics.median(ratios)}
            )
    return rows


def full_path(testbed: Testbed, step: Callable[[str], None]) -> list[Row]:
    """Purchases, looks at what was bought, histories, in turn: through the gateway, and straight to the simulator."""
    step("starting a gateway for the full path")
    setup = testbed.setup("full", bots=max(CLIENTS), calls=MANY_CALLS)
    paced = testbed.stack.enter_context(Helper("bench.gateway.paced_load", testbed.folder / "paced.log"))
    common: dict[str, Any] = {"kinds": FULL_KINDS, "rate": FULL_RATE, "seconds": FULL_ROUND_S}
    ways: dict[str, dict[str, Any]] = {
        "direct": {**common, "to": "simulator", "port": setup.simulator_port},
        "gateway": {**common, **_to(setup)},
    }
    rows: list[Row] = []
    for clients in CLIENTS:
        took: dict[str, dict[str, list[float]]] = {way: {kind: [] for kind in FULL_KINDS} for way in ways}
        outcomes: dict[str, Counter[str]] = {way: Counter() for way in ways}
        for number in range(ROUNDS):
            step(f"full path, {clients} clients, round {number + 1} of {ROUNDS}")
            for way, task in ways.items():
                taken = paced.run(**task, clients=clients)
                outcomes[way].update(taken["outcomes"])
                for kind, times_ms in taken["took_ms"].items():
                    took[way][kind] += times_ms
        for name, kinds in (("", FULL_KINDS), *((f": {kind}", (kind,)) for kind in FULL_KINDS)):
            figures = {way: _percentiles([ms for kind in kinds for ms in took[way][kind]]) for way in ways}
            rows += [{"part": f"full path {way}{name}", "clients": clients, **figures[way]} for way in ways]
            rows[-1] |= {f"added_{p}": figures["gateway"][p] - figures["direct"][p] for p in ("p50_ms", "p99_ms")}
            if not name:
                for row, way in zip(rows[-2:], ways, strict=True):
                    row["outcomes"] = dict(outcomes[way])
    return rows


def _percentiles(took_ms: list[float]) -> Row:
    ordered = sorted(took_ms)
    return {"calls": len(ordered), "p50_ms": percentile(ordered, 50), "p99_ms": percentile(ordered, 99)}


def many_bots(testbed: Testbed, step: Callable[[str], None]) -> list[Row]:
    """A thousand bots on a thousand connections: the gateway's memory, and how late the last one has a tick."""
    step(f"starting a gateway for {WATCHERS} bots")
    setup = testbed.setup("many", bots=WATCHERS, speed=TICKS_SPEED)
    watchers = testbed.stack.enter_context(Helper("bench.gateway.tick_listeners", testbed.folder / "watchers.log"))
    time.sleep(6)  # until it has settled
    rows: list[Row] = [{"part": "no bots", "memory_mb": setup.gateway.usage.rss_mb}]
    common: dict[str, Any] = {"port": setup.gateway_port, "simulator_port": setup.simulator_port}
    common |= {"tokens": str(setup.tokens), "bots": WATCHERS}
    for part, more in (
        ("connected", {"seconds": 1.0}),
        ("ticks", {"ticks": True, "seconds": TICKS_S}),
        ("ticks, orders, leases", {"ticks": True, "whole": True, "seconds": TICKS_S / 2}),
    ):
        step(f"{WATCHERS} bots: {part}")
        before, start = setup.gateway.usage, time.monotonic()
        watchers.ask(**common, **more)
        with _watched(setup.gateway) as peak:
            found = watchers.answer()
        cores = (setup.gateway.usage.cpu_s - before.cpu_s) / (time.monotonic() - start)
        rows.append({"part": f"{WATCHERS} bots: {part}", "memory_mb": max(peak), "server_cores": cores, **found})
    return rows


@contextmanager
def _watched(program: Program) -> Generator[list[float], None, None]:
    """Megabytes of a process after the block; what it was at the start is the first."""
    seen = [program.usage.rss_mb]
    yield seen
    seen.append(program.usage.rss_mb)


def bulkheads(testbed: Testbed, step: Callable[[str], None]) -> list[Row]:
    """A calm bot's calls while others behave badly."""
    step("starting a gateway for bad company")
    setup = testbed.setup("bad", bots=max(CLIENTS), speed=BAD_SPEED)
    nuisance = testbed.stack.enter_context(Helper("bench.gateway.misbehaving_bots", testbed.folder / "nuisance.log"))
    calm = {**_to(setup), "kinds": ["check"], "first": CALM, "rate": CALM_RATE}
    common: dict[str, Any] = {"port": setup.gateway_port, "tokens": str(setup.tokens), "seconds": CALM_S}
    rows: list[Row] = []

    def beside(part: str, begin: Callable[[], None], end: Callable[[], Row]) -> None:
        step(f"a calm bot {part}")
        begin()
        taken = testbed.caller.run(**calm, seconds=CALM_S)
        rows.append({"part": f"calm bot {part}", **taken, **end(), "memory_mb": setup.gateway.usage.rss_mb})

    def alone() -> None:
        """Nothing else goes on."""

    def flood() -> None:
        testbed.second.ask(**_to(setup), kinds=["buy"], first=FLOODER, at_once=FLOOD, patience_s=30.0, run="flood")

    def flooded() -> Row:
        taken = testbed.second.answer()
        return {"others": {"calls": taken["calls"], "seconds": taken["seconds"], "outcomes": taken["outcomes"]}}

    def listening() -> Row:
        return {"others": nuisance.answer()}

    beside("alone", alone, dict)
    beside(f"while another makes {FLOOD} calls at once", flood, flooded)
    beside("while ten read nothing", lambda: nuisance.ask(do="deaf", first=DEAF, bots=10, **common), listening)
    beside("while ten die and return", lambda: nuisance.ask(do="dying", first=DYING, bots=10, **common), listening)
    beside("alone again", alone, dict)
    return rows


PARTS: dict[str, Callable[[Testbed, Callable[[str], None]], list[Row]]] = {
    "cheap": cheap_calls,
    "full": full_path,
    "many": many_bots,
    "bad": bulkheads,
}
STEPS = {
    "cheap": 1 + len(CLIENTS) * ROUNDS,
    "full": 1 + len(CLIENTS) * ROUNDS,
    "many": 4,
    "bad": 6,
}
