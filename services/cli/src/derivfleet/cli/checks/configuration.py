"""Checks of what a person sets: the fleet file, the credential, the ports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from derivfleet.cli.checks.result import CheckResult, Mark
from derivfleet.cli.run.ports import check_free
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.cli.run.ports import Ports

__all__ = ["check_credential", "check_ports"]

_TOKEN = re.compile(r"[\w-]{1,128}")


def check_credential(environment: Mapping[str, str], dialect: str) -> list[CheckResult]:
    """Whether the credential is there and looks like one; its value is never told.

    ``dialect`` is the fleet file's: auto takes what the app id says.
    """
    token, app_id = environment.get("DERIV_TOKEN", ""), environment.get("DERIV_APP_ID", "")
    results: list[CheckResult] = []
    if not token:
        results.append(_unset("DERIV_TOKEN", "the account's API token"))
    elif not _TOKEN.fullmatch(token):
        todo = "copy it again: letters, digits, - and _ only, no spaces or quotes"
        results.append(CheckResult(Mark.BAD, "DERIV_TOKEN does not look like a token", todo, is_configuration=True))
    else:
        results.append(CheckResult(Mark.GOOD, f"DERIV_TOKEN is set ({len(token)} characters)"))
    if not app_id:
        results.append(_unset("DERIV_APP_ID", "the app's id"))
        return results
    kind = "legacy" if app_id.isdigit() else "options"
    if dialect not in ("auto", kind):
        what = f"DERIV_APP_ID belongs to the {kind} API, but the fleet file says {dialect}"
        results.append(CheckResult(Mark.BAD, what, "use the app id of that API", is_configuration=True))
    else:
        results.append(CheckResult(Mark.GOOD, f"DERIV_APP_ID is set (the {kind} API)"))
    return results


def _unset(name: str, meaning: str) -> CheckResult:
    todo = f"export {name}=… ({meaning}), or trade on the simulator with `derivfleet up --simulator`"
    return CheckResult(Mark.BAD, f"{name} is not set", todo, is_configuration=True)


def check_ports(ports: Ports, *, simulator: bool) -> CheckResult:
    try:
        check_free(ports.needed(simulated=simulator))
    except ConfigurationError as error:
        return CheckResult(Mark.BAD, str(error), is_configuration=True)
    return CheckResult(Mark.GOOD, f"the ports are free ({ports.metrics} and following)")
