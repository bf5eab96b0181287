"""A fleet of real processes whose traces go to a Collector; told everything else as ``derivfleet up`` would tell it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml
from processes import answers, free_ports

from derivfleet.cli.clients import is_serving
from derivfleet.cli.run.environments import environment_of
from derivfleet.cli.run.plan import Credential, Plan, Simulated
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.run_dir import RunDir
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from processes import Processes

__all__ = ["Trading", "local_ports"]


def local_ports() -> Ports:
    """Where the services of a fleet listen."""
    return Ports(**free_ports("metrics", "web", "gateway", "simulator"))


@dataclass(frozen=True)
class Trading:
    """One run of a fleet. ``settings`` are the simulator's."""

    processes: Processes
    folder: Path
    ports: Ports
    collector: str
    bots: list[dict[str, Any]]
    settings: dict[str, Any]

    @property
    def names(self) -> list[str]:
        return [bot["name"] for bot in self.bots]

    def run(self, seconds: float) -> None:
        """Start everything, let it trade, end everything."""
        run_dir = RunDir(self.folder)
        run_dir.prepare(simulated=True)
        run_dir.fleet_file.write_text(
            yaml.safe_dump({"accounts": [{"key": "demo", "dialect": "options"}], "bots": self.bots})
        )
        load_fleet(run_dir.fleet_file)
        bearers = dict.fromkeys(self.names, Role.BOT) | {"operator": Role.OPERATOR, "metrics": Role.OBSERVER}
        issue_tokens(bearers, run_dir.tokens)
        settings = self.folder / "simulator.yaml"
        settings.write_text(yaml.safe_dump(self.settings))
        plan = Plan(
            run_dir,
            self.ports,
            Credential(f"simulated-{secrets.token_hex(8)}", "simulatedapp"),
            Simulated("1", settings),
            speed=1.0,
            origin_ns=time.time_ns(),
        )
        # Services send their traces to where they think the metrics service is.
        traced = replace(plan, ports=replace(self.ports, metrics=self.collector))
        core = {"simulator": plan, "metrics": plan, "gateway": traced}
        for name, told in core.items():
            self._start(name, name, told)
        self.processes.until("the simulator is ready", lambda: answers(f"http://{self.ports.simulator}/health"), 60)
        for name, address in {"metrics": self.ports.metrics, "gateway": self.ports.gateway}.items():
            self.processes.until(f"{name} is ready", lambda address=address: asyncio.run(is_serving(address)), 60)
        for name in self.names:
            self._start(name, "bot", traced)
        time.sleep(seconds)
        self.processes.end(*self.names)
        self.processes.end("gateway")
        # What the gateway sent last is on its way through the Collector.
        time.sleep(3)
        self.processes.end("metrics", "simulator")

    def orders(self) -> list[dict[str, Any]]:
        """All orders of the gateway's journal, the oldest first."""
        with closing(sqlite3.connect(self.folder / "journal.simulator.sqlite")) as journal:
            rows = journal.execute("SELECT body FROM orders ORDER BY first_position").fetchall()
        return [json.loads(body) for (body,) in rows]

    def reported_spans(self) -> int:
        """How many spans the metrics service has."""
        with closing(sqlite3.connect(self.folder / "metrics.simulator.sqlite")) as store:
            (count,) = store.execute("SELECT COUNT(*) FROM spans").fetchone()
        return int(count)

    def _start(self, name: str, module: str, plan: Plan) -> None:
        environment = environment_of(name, plan, os.environ)
        self.processes.start(name, [sys.executable, "-m", f"derivfleet.{module}"], environment)
