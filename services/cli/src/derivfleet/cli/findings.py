"""What a check-up finds: one line each, and what they come to. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.cli.complaints import EXIT_FAILED
from derivfleet.common.errors import EXIT_CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Finding", "Verdict", "clock_finding", "credential_findings", "exit_code_of"]

CLOCK_TOLERANCE_S = 2.0
"""Deriv tells its time in whole seconds, and a bot drops decisions that are a few seconds old."""
_TOKEN = re.compile(r"[\w-]{1,128}")


class Verdict(StrEnum):
    """How a finding is marked."""

    GOOD = "✓"
    BAD = "✗"
    NOTE = "·"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``todo`` says what to do about it; ``is_configuration`` marks what a person must set."""

    verdict: Verdict
    what: str
    todo: str = ""
    is_configuration: bool = False

    @property
    def line(self) -> str:
        return f"{self.verdict} {self.what}" + (f": {self.todo}" if self.todo else "")


def exit_code_of(findings: Iterable[Finding]) -> int:
    """2 if something must be configured, 1 if anything else is wrong, else 0."""
    bad = [finding for finding in findings if finding.verdict is Verdict.BAD]
    if any(finding.is_configuration for finding in bad):
        return EXIT_CONFIGURATION
    return EXIT_FAILED if bad else 0


def credential_findings(environment: Mapping[str, str], dialect: str) -> list[Finding]:
    """Whether the credential is there and looks like one; its value is never told.

    ``dialect`` is the fleet file's: auto takes what the app id says.
    """
    token, app_id = environment.get("DERIV_TOKEN", ""), environment.get("DERIV_APP_ID", "")
    findings: list[Finding] = []
    if not token:
        findings.append(_unset("DERIV_TOKEN", "the account's API token"))
    elif not _TOKEN.fullmatch(token):
        todo = "copy it again: letters, digits, - and _ only, no spaces or quotes"
        findings.append(Finding(Verdict.BAD, "DERIV_TOKEN does not look like a token", todo, is_configuration=True))
    else:
        findings.append(Finding(Verdict.GOOD, f"DERIV_TOKEN is set ({len(token)} characters)"))
    if not app_id:
        findings.append(_unset("DERIV_APP_ID", "the app's id"))
        return findings
    kind = "legacy" if app_id.isdigit() else "options"
    if dialect not in ("auto", kind):
        what = f"DERIV_APP_ID belongs to the {kind} API, but the fleet file says {dialect}"
        findings.append(Finding(Verdict.BAD, what, "use the app id of that API", is_configuration=True))
    else:
        findings.append(Finding(Verdict.GOOD, f"DERIV_APP_ID is set (the {kind} API)"))
    return findings


def _unset(name: str, meaning: str) -> Finding:
    todo = f"export {name}=… ({meaning}), or trade on the simulator with `derivfleet up --simulator`"
    return Finding(Verdict.BAD, f"{name} is not set", todo, is_configuration=True)


def clock_finding(whose: str, their_epoch_s: int, asked_s: float, answered_s: float, speed: float) -> Finding:
    """Compare clocks: their whole second against our time at the question and at the answer (fleet seconds).

    Their time lies in [their_epoch_s, their_epoch_s + 1) at some moment between question and answer.
    """
    behind_s = their_epoch_s - answered_s
    ahead_s = asked_s - (their_epoch_s + 1)
    off_s = max(behind_s, ahead_s, 0.0)
    # A fast clock moves far while an answer travels; the tolerance travels with it.
    if off_s <= CLOCK_TOLERANCE_S * max(1.0, speed):
        return Finding(Verdict.GOOD, f"the clock agrees with {whose}'s" + (f" ({off_s:.1f} s off)" if off_s else ""))
    side = "behind" if behind_s > ahead_s else "ahead of"
    todo = "set it (NTP); bots would drop decisions as too late or trade on old prices"
    return Finding(Verdict.BAD, f"the clock is {off_s:.1f} s {side} {whose}'s", todo)
