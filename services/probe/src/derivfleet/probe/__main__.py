"""The probe's process: ``python -m derivfleet.probe``.

Says on standard output, in JSON, a line each: what it would do and on which account; then, if that was confirmed, how
far it is, and the report. Exit code 0: done. 1: something was not found out. 2: something must be configured. 3: the
account is not a demo account.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide, redact
from derivfleet.common.service import run_service
from derivfleet.connection.login import (
    CredentialError,
    LoginError,
    RealMoneyError,
    dialect_of,
    login_of,
)
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.limits import with_website_status
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.probe.core.bounds import LOGIN_CALLS, STAKE, Experiment, Step, steps_of
from derivfleet.probe.core.notebook import Notebook
from derivfleet.probe.experiments import EXPERIMENTS, WINDOW_CALL
from derivfleet.probe.report import Report, json_of, markdown_of, settings_of, text_of
from derivfleet.probe.session import AccountInUseError, BrokenOffError, Session
from derivfleet.probe.settings import ProbeSettings

if TYPE_CHECKING:
    from pathlib import Path

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.connection.login import AccountFacts

__all__ = ["Probe", "main"]

_log = structlog.get_logger()
EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_NOT_DEMO = 0, 1, 3
LOGIN = Step(Experiment.CLOCK, "log in", 0, 1, 60)


def say(event: str, **facts: Any) -> None:
    """A line for whoever started this."""
    sys.stdout.write(redact(json.dumps({"event": event, **facts}, default=str)) + "\n")
    sys.stdout.flush()


class Probe:
    """One probe of one account."""

    def __init__(self, settings: ProbeSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.dialect = dialect_of(settings.app_id, settings.dialect)
        login = login_of(dialect(self.dialect), settings, settings.login_id, clock)
        self._session = Session(login, clock, lambda left_s: say("waiting", seconds=round(left_s, 1)))
        table = self._session.codec.limits
        # The offset of the clocks tells when the server's minutes begin: without it no window can be judged.
        chosen = {*settings.experiments, Experiment.CLOCK}
        if Experiment.HOUR in chosen:
            chosen.add(Experiment.WINDOW)
        self.notebook = Notebook(table, WINDOW_CALL, tuple(one for one in Experiment if one in chosen))
        self._began_ns = clock.now_ns()

    async def run(self) -> int:
        """Say what would be done; if that account is confirmed, do it. Returns the exit code.

        Raises ConfigurationError, or RealMoneyError.
        """
        try:
            facts = await self._log_in()
            steps = steps_of(self.notebook.bucket, self.notebook.chosen, self._settings.hour_calls)
            say(
                "plan",
                login_id=facts.login_id,
                currency=facts.currency,
                balance=facts.balance,
                dialect=self.dialect,
                stake=STAKE,
                calls=sum(step.calls + LOGIN_CALLS for step in steps),
                usual_s=sum(step.usual_s for step in steps),
                most_s=sum(step.most_s for step in steps),
                steps=[{"name": step.experiment, "what": step.what, "calls": step.calls} for step in steps],
            )
            if not self._settings.confirmed:
                return EXIT_DONE
            if self._settings.confirmed != facts.login_id:
                problem = f"is {self._settings.confirmed}, but the token belongs to {facts.login_id}"
                raise ConfigurationError("DERIVFLEET_PROBE_CONFIRMED", problem)
            for step in steps:
                if not await self._carry_out(step):
                    break
        finally:
            await self._session.end()
        return EXIT_DONE if self.notebook.is_complete else EXIT_INCONCLUSIVE

    async def _log_in(self) -> AccountFacts:
        self._session.allow(LOGIN)
        try:
            await self._session.begin()
            if self.dialect is Dialect.LEGACY:
                await self._learn_table()
        except RealMoneyError:
            raise
        except CredentialError as error:
            raise ConfigurationError(error.key, error.problem) from None
        if self._session.facts is None:
            raise LoginError("Deriv did not say whose account it is")
        return self._session.facts

    async def _learn_table(self) -> None:
        """A legacy server tells some of its limits; the new API has no such call."""
        reply = await self._session.ask(requests.WebsiteStatus(website_status=1))
        if reply.frame is not None:
            told = self._session.codec.decode_call_limits(reply.frame)
            self.notebook.table = with_website_status(self.notebook.table, told)

    async def _carry_out(self, step: Step) -> bool:
        """Returns whether there is any use in going on."""
        say("step", name=step.experiment, what=step.what, usual_s=step.usual_s, calls=self._session.calls)
        self._session.allow(step)
        try:
            await self._session.begin()
            await EXPERIMENTS[step.experiment](self._session, self.notebook, step)
            self._session.check()
        except asyncio.CancelledError:
            self.notebook.troubles[step.experiment] = "told to end"
            raise
        except (AccountInUseError, BrokenOffError, LoginError, CredentialError, MalformedAnswer) as error:
            _log.warning("an experiment was broken off", experiment=step.experiment, problem=str(error))
            self.notebook.troubles[step.experiment] = str(error)
            if isinstance(error, AccountInUseError):
                self.notebook.distrust()
                return False
        return True

    def report(self) -> Report | None:
        """What was found so far; None before there was an account."""
        facts = self._session.facts
        if facts is None:
            return None
        return Report(
            account=self._settings.account,
            login_id=facts.login_id,
            dialect=self.dialect,
            began=datetime.fromtimestamp(self._began_ns / NS_PER_S, UTC).isoformat(timespec="seconds"),
            took_s=(self._clock.now_ns() - self._began_ns) / NS_PER_S,
            calls=self._session.calls,
            latencies_ms=self._session.latencies_ms,
            notebook=self.notebook,
        )


def write(report: Report, folder: Path | None) -> list[str]:
    """Put the report into a folder, in all its forms; returns the files."""
    if folder is None:
        return []
    forms = {
        "report.json": json.dumps(json_of(report), indent=1) + "\n",
        "report.md": markdown_of(report),
        "settings.yaml": settings_of(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in forms.items():
            (folder / name).write_text(redact(text), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("DERIVFLEET_PROBE_OUT", f"cannot write in {folder}: {error.strerror}") from None
    return [str(folder / name) for name in forms]


def main() -> int:
    """Probe, and return the exit code."""
    outcome = EXIT_INCONCLUSIVE

    async def work(settings: ProbeSettings, clock: Clock, _telemetry: Telemetry, stop: asyncio.Event) -> None:
        nonlocal outcome
        hide(settings.token)
        probe = Probe(settings, clock)
        probing = asyncio.ensure_future(probe.run())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((probing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        probing.cancel()
        try:
            outcome = await probing
        except asyncio.CancelledError:
            _log.warning("told to end")
        except RealMoneyError as error:
            outcome = EXIT_NOT_DEMO
            sys.stderr.write(redact(f"probe: {error.key}: {error.problem}\n"))
        except (LoginError, BrokenOffError) as error:
            sys.stderr.write(redact(f"probe: {error}\n"))
        report = probe.report()
        if settings.confirmed and report is not None:
            files = write(report, settings.out)
            say("report", text=text_of(report), settings=settings_of(report), files=files)

    code = run_service("probe", ProbeSettings, work)
    return code or outcome


if __name__ == "__main__":
    sys.exit(main())
