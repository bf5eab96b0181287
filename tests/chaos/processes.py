"""A fleet's real processes, to be killed: started as ``derivfleet up`` would, and started again at once."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from derivfleet.cli.run.environments import environment_of
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.supervisor import PARENT_DEATH_SCRIPT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from derivfleet.cli.run.plan import Plan

__all__ = ["FleetProcess", "FleetProcesses", "UnexpectedExit", "free_ports"]

SERVICES = ("simulator", "metrics", "gateway")
GRACE_S = 10.0
RESTARTS_APART_S = 1.0
"""A member that ends by itself is started again so much later; the supervisor of ``derivfleet up`` waits half of it."""
_CHUNK = 1 << 16


def free_ports() -> Ports:
    """Four ports on loopback. Below those that the kernel gives to clients: a client that calls a gateway that was just
    killed could otherwise be given that very port, and would talk to itself.
    """
    for base in range(20_000 + os.getpid() % 200 * 50, 31_500, 450):
        ports = Ports.from_base(base)
        try:
            for _, address in ports.needed(simulated=True):
                with socket.socket() as probe:
                    host, _, port = address.rpartition(":")
                    probe.bind((host, int(port)))
        except OSError:
            continue
        return ports
    raise OSError("no four free ports between 20000 and 31950")


@dataclass(frozen=True, slots=True)
class UnexpectedExit:
    """A process that ended though nobody had told it to."""

    name: str
    exit_code: int
    line: str
    """The last that it said."""


@dataclass(slots=True)
class FleetProcess:
    """One process, and all that came before it under its name."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    is_paused: bool = False
    is_stopping: bool = False
    """Whether its end is ours."""
    tail: bytes = b""
    down_s: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Spans without a process, of the wall's monotonic clock."""
    ended_s: float = 0.0
    keeper: asyncio.Task[None] | None = None


class FleetProcesses:
    """All processes of one run. ``plan.ports.simulator`` is where the simulator listens."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.members: dict[str, FleetProcess] = {}
        self.unexpected_exits: list[UnexpectedExit] = []

    async def start(self, name: str, told: dict[str, str] | None = None, simulator: str = "") -> None:
        """Start a service or a bot's process; see :meth:`register`."""
        self.register(name, told, simulator)
        await self._spawn(self.members[name])

    def register(self, name: str, told: dict[str, str] | None = None, simulator: str = "", service: str = "") -> None:
        """Make ready to start a process.

        ``told`` is added to its environment, ``simulator`` is where it finds Deriv, if not where that listens,
        ``service`` whose environment it gets, if not that of its name.
        """
        service = service or name
        ports = replace(self.plan.ports, simulator=simulator or self.plan.ports.simulator)
        environment = environment_of(service, replace(self.plan, ports=ports), os.environ) | (told or {})
        module = service if service in SERVICES else "bot"
        arguments = (sys.executable, "-m", f"derivfleet.{module}")
        self.members[name] = FleetProcess(name, arguments, environment, self.plan.run_dir.log(name))

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal. SIGKILL and SIGTERM end a member for as long as :meth:`again` is not called."""
        member = self.members[name]
        if member.process is None or member.process.returncode is not None:
            return
        member.is_stopping |= number in (signal.SIGKILL, signal.SIGTERM)
        member.is_paused = number == signal.SIGSTOP or (member.is_paused and number != signal.SIGCONT)
        with suppress(ProcessLookupError):
            os.killpg(member.process.pid, number)

    async def again(self, name: str) -> None:
        """Start a member that was killed, as soon as it is gone."""
        member = self.members[name]
        await self.ended(name)
        await self._spawn(member)

    async def ended(self, name: str) -> int:
        """Wait for the end of a member that was told to end; its exit code."""
        member = self.members[name]
        if member.keeper is not None:
            await member.keeper
        code = None if member.process is None else member.process.returncode
        return 0 if code is None else code

    def limit_files(self, name: str, most_bytes: int | None) -> None:
        """Let no file of a member's grow beyond a size, so that it finds its disk full; None ends that."""
        member = self.members[name]
        if member.process is None or member.process.returncode is not None:
            return
        most = resource.RLIM_INFINITY if most_bytes is None else most_bytes
        with suppress(ProcessLookupError):
            resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def pid(self, name: str) -> int | None:
        """The process id, while there is a process."""
        process = self.members[name].process
        return None if process is None or process.returncode is not None else process.pid

    async def stop(self) -> list[str]:
        """End all: bots, gateway, then the rest. Returns those that had to be killed."""
        killed = await self.stop_some(name for name in self.members if name not in SERVICES)
        for name in ("gateway", "metrics", "simulator"):
            killed += await self.stop_some([name] if name in self.members else [])
        return killed

    async def stop_some(self, names: Iterable[str]) -> list[str]:
        """End some of them. Returns those that had to be killed."""
        names, killed = list(names), list[str]()
        for name in names:
            self.kill(name, signal.SIGCONT)
            self.members[name].is_stopping = True
            self.kill(name, signal.SIGTERM)
        for name in names:
            try:
                await asyncio.wait_for(asyncio.shield(self.ended(name)), GRACE_S)
            except TimeoutError:
                killed.append(name)
                self.kill(name)
                await self.ended(name)
        return killed

    async def _spawn(self, member: FleetProcess) -> None:
        member.log.parent.mkdir(parents=True, exist_ok=True)
        member.is_stopping = member.is_paused = False
        # What it says comes over a pipe: a limit on the size of its files is for its journal, not for its log.
        member.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(PARENT_DEATH_SCRIPT),
            str(os.getpid()),
            *member.arguments,
            env=member.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        if member.starts:
            member.down_s.append((member.ended_s, time.monotonic()))
        member.starts += 1
        member.keeper = asyncio.create_task(self._keep(member, member.process), name=f"keep {member.name}")

    async def _keep(self, member: FleetProcess, process: asyncio.subprocess.Process) -> None:
        """Write down what it says, to its end. One that ended by itself is remembered, and started again."""
        assert process.stdout is not None
        with member.log.open("ab") as log:
            while chunk := await process.stdout.read(_CHUNK):
                log.write(chunk)
                member.tail = (member.tail + chunk)[-2000:]
        code = await process.wait()
        member.ended_s = time.monotonic()
        if member.is_stopping:
            return
        lines = member.tail.decode(errors="replace").strip().splitlines()
        self.unexpected_exits.append(UnexpectedExit(member.name, code, lines[-1] if lines else ""))
        await asyncio.sleep(RESTARTS_APART_S)
        if not member.is_stopping:
            await self._spawn(member)
