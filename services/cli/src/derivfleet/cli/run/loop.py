"""The loop of a run: up, on until it is told to end, down. It owns the signals and the terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

import psutil
from rich.live import Live

from derivfleet.cli.clients import OPERATOR, ControlClient
from derivfleet.cli.errors import CommandError
from derivfleet.cli.reports.formats import html_of
from derivfleet.cli.reports.tables import report_tables
from derivfleet.cli.run.fleet_status import StatusPoller
from derivfleet.cli.run.memory import MemoryGauge
from derivfleet.cli.run.run_dir import RunFile
from derivfleet.cli.run.shutdown import Shutdown
from derivfleet.cli.run.startup import Startup, child_failed
from derivfleet.cli.run.supervisor import Supervisor
from derivfleet.cli.screens.live_view import RunTime, live_screen, progress_line
from derivfleet.cli.screens.run_summary import summary_lines, summary_table
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from rich.console import Console

    from derivfleet.cli.run.plan import Plan
    from derivfleet.cli.run.summary import RunSummary
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet

__all__ = ["RunLoop"]

POLL_EVERY_S = 0.5
"""Often enough to be live, and to see how full a window of a minute was before it began anew."""
LEAST_POLL_S = 0.1
LINE_EVERY_S = 5.0
MEASURE_EVERY_S = 5.0
"""The kernel counts every page for it: 20 ms for ten bots."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunLoop:
    """One run of a fleet. All its times are the wall's; ``duration_s`` 0 runs until a signal."""

    def __init__(self, plan: Plan, fleet: Fleet, duration_s: float, clock: Clock, console: Console) -> None:
        self._plan = plan
        self._fleet = fleet
        self._duration_s = duration_s
        self._clock = clock
        self._console = console
        self._stop = asyncio.Event()
        self._supervisor = Supervisor(clock)
        self._memory = MemoryGauge()
        self._startup = Startup(plan, fleet, self._supervisor, clock, self._say)
        began_s = psutil.Process().create_time()
        self._began_ns = round(began_s * 1e9)
        self._pid_started_s = began_s

    async def run(self) -> RunSummary:
        """Run to the end.

        Raises ConfigurationError if a service ends because of its configuration, CommandError if the fleet does not
        come up. All processes have ended when this returns or raises.
        """
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            with self._plan.run_dir.writing():
                self._startup.issue_tokens()
                self._plan.run_dir.write_file(self._run_file())
            await self._unless_told_to_end(self._startup.start())
            token = self._plan.run_dir.token(OPERATOR)
            async with ControlClient(self._plan.ports.gateway, token) as client:
                poller = StatusPoller(client, self._startup.bots)
                await self._trade(poller)
                self._memory.measure(self._supervisor.children)
                shutdown = Shutdown(
                    self._plan, self._fleet, self._supervisor, self._startup, self._clock, self._began_ns, self._say
                )
                summary = await shutdown.run(client, poller)
            summary = summary.model_copy(update={"memory": self._memory.most})
            self._show(summary)
            with self._plan.run_dir.writing():
                self._plan.run_dir.summary.write_text(summary.model_dump_json(indent=1) + "\n")
                if shutdown.report is not None:
                    answer = reports_pb2.GetReportResponse(report=shutdown.report)
                    self._plan.run_dir.report.write_text(html_of(report_tables(answer)))
            self._tell_where(has_report=shutdown.report is not None)
            return summary
        finally:
            await self._supervisor.stop(self._startup.processes)
            for service in self._startup.core:
                await self._supervisor.stop([service])
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        """The first one ends the fleet in order; who insists is heard."""
        if self._stop.is_set():
            self._supervisor.kill_all()
        self._stop.set()

    async def _unless_told_to_end(self, work: Coroutine[Any, Any, None]) -> None:
        starting = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise CommandError("told to end before the fleet was up")
            starting.result()
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait((starting, stopping))

    async def _trade(self, poller: StatusPoller) -> None:
        """Show the fleet until the time is over or somebody says so."""
        began_s = self._clock.now_s()
        is_live = self._console.is_terminal
        every_s = max(LEAST_POLL_S, POLL_EVERY_S / max(1.0, self._plan.speed))
        line_due_s = measure_due_s = 0.0
        web = self._plan.ports.web
        # A log is read by others: the link that signs in is for the terminal of whoever started the fleet.
        link = self._plan.run_dir.page_link(web) if is_live else f"http://{web} (`derivfleet page` prints the link)"
        self._say(f"trading; the page is {link}")
        with Live(console=self._console, auto_refresh=False, transient=True) if is_live else nullcontext() as live:
            while not self._stop.is_set():
                if self._supervisor.failure.done():
                    raise child_failed(self._supervisor.failure.result())
                elapsed_s = self._clock.now_s() - began_s
                if self._duration_s and elapsed_s >= self._duration_s:
                    return
                width, height = self._console.size
                status = await poller.poll(self._supervisor.children, height if is_live else 0)
                time = RunTime(elapsed_s, self._duration_s)
                if elapsed_s >= measure_due_s:
                    measure_due_s += MEASURE_EVERY_S
                    self._memory.measure(self._supervisor.children)
                if isinstance(live, Live):
                    live.update(live_screen(status, time, link, width, height), refresh=True)
                elif elapsed_s >= line_due_s:
                    line_due_s += LINE_EVERY_S
                    self._say(progress_line(status, time))
                await self._pause(min(every_s, self._duration_s - elapsed_s) if self._duration_s else every_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than for the first thing that ends the run."""
        waiting = asyncio.create_task(self._stop.wait())
        await asyncio.wait((waiting, self._supervisor.failure), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, summary: RunSummary) -> None:
        self._console.print()
        self._console.print(summary_table(summary))
        for line in summary_lines(summary):
            self._say(line)

    def _tell_where(self, *, has_report: bool) -> None:
        run_dir = self._plan.run_dir
        report = f"report: {run_dir.report}; " if has_report else ""
        self._say(f"{report}all figures: {run_dir.summary}; logs: {run_dir.path / 'logs'}")
        page = f"http://{self._plan.ports.web}"
        self._say(f"the page {page} ended with the run; without --duration it stays until Ctrl-C")

    def _run_file(self) -> RunFile:
        plan = self._plan
        return RunFile(
            fleet=self._fleet.fleet,
            account=self._fleet.accounts[0].key,
            pid=os.getpid(),
            pid_started_s=self._pid_started_s,
            simulated=plan.simulated is not None,
            dialect=self._fleet.accounts[0].dialect,
            app_id=plan.credential.app_id if plan.simulated is not None else "",
            speed=plan.speed,
            origin_ns=plan.origin_ns,
            gateway=plan.ports.gateway,
            metrics=plan.ports.metrics,
            web=plan.ports.web,
            simulator=plan.ports.simulator if plan.simulated is not None else "",
        )
