"""How a local fleet comes up: each service with its environment, in order, each one ready before the next."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from derivfleet.cli.clients import OPERATOR, is_serving
from derivfleet.cli.errors import CommandError
from derivfleet.cli.run.environments import environment_of, processes_of
from derivfleet.cli.run.run_dir import PAGE_READER
from derivfleet.cli.run.service_log import last_line
from derivfleet.cli.run.simulator_client import is_healthy
from derivfleet.cli.run.supervisor import Program
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.cli.run.plan import Plan
    from derivfleet.cli.run.supervisor import Failure, Supervisor
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet

__all__ = ["Startup", "child_failed"]

READY_WALL_S = 90.0
"""How long a service may take to be ready. A first start on a slow disk compiles every module it imports."""
_ASK_EVERY_S = 0.1
_MOST_CRASHES = 4
_CALLED = {"metrics": "metrics service"}


def child_failed(failure: Failure) -> ConfigurationError:
    """A service ended because of its configuration; its own last line says why."""
    line = failure.line.removeprefix("bot: ")
    return ConfigurationError(failure.name, line.removeprefix(f"{failure.name}: "))


class Startup:
    """Starts the services of a plan under a supervisor."""

    def __init__(
        self, plan: Plan, fleet: Fleet, supervisor: Supervisor, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._fleet = fleet
        self._supervisor = supervisor
        self._clock = clock
        self._say = say

    @property
    def core(self) -> tuple[str, ...]:
        """All but the bots, in the order in which they are ended."""
        return ("gateway", "metrics", *(("simulator",) if self._plan.simulated is not None else ()))

    @property
    def bots(self) -> tuple[str, ...]:
        """The names of the bots."""
        return tuple(bot.name for bot in self._fleet.bots)

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of the bots' processes."""
        return tuple(process for bot in self._fleet.bots for process in processes_of(bot))

    def issue_tokens(self) -> None:
        """A fresh token for every bot, the metrics service, the command line and who reads the page."""
        bearers = dict.fromkeys(self.bots, Role.BOT) | {
            OPERATOR: Role.OPERATOR,
            "metrics": Role.OBSERVER,
            PAGE_READER: Role.OBSERVER,
        }
        issue_tokens(bearers, self._plan.run_dir.tokens)

    async def start(self) -> None:
        """Bring everything up.

        Raises ConfigurationError if a service ends because of its configuration, CommandError if one does not get
        ready in time.
        """
        ports = self._plan.ports
        await self._start("metrics")
        if self._plan.simulated is not None:
            await self.start_simulator()
        await self._start("gateway")
        await self._ready("metrics", lambda: is_serving(ports.metrics))
        await self._ready("gateway", lambda: is_serving(ports.gateway))
        for process in self.processes:
            await self._start(process)

    async def start_simulator(self) -> None:
        """Bring the simulator up alone. Raises as :meth:`start`."""
        await self._start("simulator")
        await self._ready("simulator", lambda: is_healthy(self._plan.ports.simulator))

    async def _start(self, service: str) -> None:
        module = service if service in ("simulator", "metrics", "gateway") else "bot"
        await self._supervisor.start(
            Program(
                name=service,
                arguments=(sys.executable, "-m", f"derivfleet.{module}"),
                environment=environment_of(service, self._plan, os.environ),
                log=self._plan.run_dir.log(service),
            )
        )

    async def _ready(self, service: str, is_ready: Callable[[], Awaitable[bool]]) -> None:
        self._say(f"waiting for the {_CALLED.get(service, service)} …")
        with suppress(TimeoutError):
            async with self._clock.timeout(READY_WALL_S):
                while not await is_ready():
                    if self._supervisor.failure.done():
                        raise child_failed(self._supervisor.failure.result())
                    for child in self._supervisor.children:
                        if child.restarts >= _MOST_CRASHES:
                            raise self._not_up(child.name, "keeps crashing")
                    await self._clock.sleep(_ASK_EVERY_S)
                return
        raise self._not_up(service, f"was not ready within {READY_WALL_S:.0f} s")

    def _not_up(self, service: str, problem: str) -> CommandError:
        log = self._plan.run_dir.log(service)
        return CommandError(f"the {_CALLED.get(service, service)} {problem}; {log} ends with: {last_line(log)}")
