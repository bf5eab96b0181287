"""The folder of a run: what the fleet runs with, its logs, tokens and records, and where its services listen."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from derivfleet.cli.errors import CommandError
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.own_token import read_token

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from derivfleet.common.fleet import Fleet
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["PAGE_READER", "RunDir", "RunFile"]

PAGE_READER = "page_reader"
"""Whose token opens the web page, and nothing else is done with it. No bot can have that name."""


class RunFile(BaseModel):
    """``fleet.json``: how to reach the fleet that runs in this folder. No secret is in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fleet: str
    account: str
    pid: int
    """Of the supervisor."""
    pid_started_s: float
    """When that process began, wall seconds since 1970: a process id is used again."""
    simulated: bool
    dialect: str
    app_id: str = ""
    """The simulator's; empty for a real account."""
    speed: float
    origin_ns: int
    gateway: str
    metrics: str
    web: str
    simulator: str = ""

    @property
    def clock(self) -> FleetClock:
        """The fleet's own clock."""
        return FleetClock(self.speed, self.origin_ns)

    @property
    def is_running(self) -> bool:
        """Whether its supervisor is alive."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.pid_started_s) < 1.0
        except psutil.Error:
            return False


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths within the folder of a run."""

    path: Path

    @property
    def run_file(self) -> Path:
        return self.path / "fleet.json"

    @property
    def fleet_file(self) -> Path:
        """What the services read: the fleet file as it was when the run began. It is JSON, which is YAML too."""
        return self.path / "fleet.yaml"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The report over the whole run, as a page of its own: the metrics service ends with the run."""
        return self.path / "report.html"

    def log(self, service: str) -> Path:
        return self.path / "logs" / f"{service}.log"

    def token(self, bearer: str) -> Path:
        return self.tokens / f"{bearer}.token"

    def page_link(self, web: str) -> str:
        """The link that opens the page at ``host:port`` signed in; raises ConfigurationError if there is no token."""
        return f"http://{web}/#token={read_token(self.token(PAGE_READER), '--run-dir')}"

    def record(self, name: str, *, simulated: bool) -> Path:
        """``journal`` or ``metrics``: a simulated account's records never meet a real one's."""
        return self.path / (f"{name}.simulator.sqlite" if simulated else f"{name}.sqlite")

    def prepare(self, *, simulated: bool) -> None:
        """Make the folder ready for a new run.

        Old logs and summary go. So do a simulated account's records, for every simulator begins with an empty
        account. A real account's records stay. Raises ConfigurationError if the folder cannot be made, or if a fleet
        runs in it.
        """
        try:
            running = self.read_file()
        except CommandError:
            running = None
        if running is not None and running.is_running and running.pid != os.getpid():
            raise ConfigurationError(
                "--run-dir", f"a fleet runs in {self.path} (process {running.pid}): stop it or choose another folder"
            )
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            stale = [self.summary, self.report, self.run_file, *(self.path / "logs").glob("*.log")]
            if simulated:
                for name in ("journal", "metrics"):
                    record = self.record(name, simulated=True)
                    stale += [record, *(record.with_name(record.name + end) for end in ("-wal", "-shm", "-journal"))]
            for path in stale:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError("--run-dir", f"cannot use {self.path}: {error.strerror}") from None

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Raise CommandError if the block fails to write here: the disk is full, or gone."""
        try:
            yield
        except OSError as error:
            raise CommandError(f"cannot write in {self.path}: {error.strerror or error}") from None

    def write_fleet(self, fleet: Fleet, dialect: Dialect) -> Fleet:
        """Keep the fleet as it runs: a later edit of the file must not reach a bot that is merely restarted."""
        accounts = tuple(account.model_copy(update={"dialect": dialect.value}) for account in fleet.accounts)
        settled = fleet.model_copy(update={"accounts": accounts})
        with self.writing():
            self.fleet_file.write_text(settled.model_dump_json(indent=1) + "\n")
        return settled

    def write_file(self, run: RunFile) -> None:
        self.run_file.write_text(run.model_dump_json(indent=1) + "\n")

    def read_file(self) -> RunFile:
        """How to reach the fleet; raises CommandError if none was started in this folder."""
        try:
            return RunFile.model_validate_json(self.run_file.read_text())
        except OSError:
            raise CommandError(
                f"no fleet was started in {self.path}: "
                "start one with `derivfleet up`, or name another folder with --run-dir"
            ) from None
        except ValidationError:
            raise CommandError(f"{self.run_file} is not what `derivfleet up` writes: start the fleet again") from None

    def running(self) -> RunFile:
        """How to reach the fleet; raises CommandError if it has ended."""
        run = self.read_file()
        if not run.is_running:
            raise CommandError(f"the fleet in {self.path} has ended: start it again with `derivfleet up`")
        return run
