"""What a run is to be, by the options of a command: its folder, ports, clock, credential and dialect."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.cli.options import DialectChoice
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.run_dir import RunDir
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from pathlib import Path

    from derivfleet.common.fleet import Account

__all__ = ["CREDENTIALS", "Credential", "Plan", "Simulated", "credential_for", "dialect_of", "plan_of"]

CREDENTIALS = ("DERIV_TOKEN", "DERIV_APP_ID")


@dataclass(frozen=True, slots=True)
class Credential:
    """What logs in at Deriv, or at the simulator that stands in for it."""

    token: str
    app_id: str


@dataclass(frozen=True, slots=True)
class Simulated:
    """How the simulator is run."""

    seed: str
    settings: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, decided: what is started where, with which clock and credential."""

    run_dir: RunDir
    ports: Ports
    credential: Credential
    simulated: Simulated | None
    speed: float
    origin_ns: int


def dialect_of(choice: DialectChoice, in_file: str, app_id: str | None) -> Dialect:
    """Which dialect a run speaks: the option, else the fleet file, else the kind of app id; options if nothing tells.

    Raises ConfigurationError if option and file disagree.
    """
    if choice is not DialectChoice.AUTO:
        if in_file not in ("auto", choice.value):
            raise ConfigurationError("--dialect", f"{choice.value} is asked for, but the fleet file says {in_file}")
        return Dialect(choice.value)
    if in_file != "auto":
        return Dialect(in_file)
    return Dialect.LEGACY if app_id is not None and app_id.isdigit() else Dialect.OPTIONS


def credential_for(dialect: Dialect | None) -> Credential:
    """For a dialect of the simulator a made-up credential; for None the one in the environment.

    The simulator's app id has the shape that each dialect's real ones have: digits for legacy, a word for options.
    Raises ConfigurationError naming the variable that is missing.
    """
    if dialect is not None:
        return Credential(
            f"simulated-{secrets.token_hex(12)}", "10001" if dialect is Dialect.LEGACY else "simulatedapp"
        )
    for name in CREDENTIALS:
        if not os.environ.get(name, "").strip():
            raise ConfigurationError(name, f"is not set: export {' and '.join(CREDENTIALS)}, or add --simulator")
    token, app_id = (os.environ[name].strip() for name in CREDENTIALS)
    hide(token)
    return Credential(token, app_id)


def plan_of(
    account: Account,
    folder: Path,
    origin_ns: int,
    *,
    simulator: bool,
    dialect: DialectChoice,
    speed: float,
    simulator_settings: Path | None,
    base_port: int,
    seed: str = "1",
) -> tuple[Plan, Dialect]:
    """The plan, and the dialect that it speaks. Raises ConfigurationError naming the option that does not fit."""
    if simulator:
        spoken = dialect_of(dialect, account.dialect, None)
        credential = credential_for(spoken)
    else:
        credential = credential_for(None)
        spoken = dialect_of(dialect, account.dialect, credential.app_id)
        if speed != 1:
            raise ConfigurationError("--speed", "must be 1 without --simulator: Deriv does not run faster")
    if simulator_settings is not None and not (simulator and simulator_settings.is_file()):
        problem = "needs --simulator" if not simulator else f"{simulator_settings} is not a file"
        raise ConfigurationError("--simulator-settings", problem)
    plan = Plan(
        run_dir=RunDir(folder.resolve()),
        ports=Ports.from_base(base_port),
        credential=credential,
        simulated=Simulated(seed, simulator_settings and simulator_settings.resolve()) if simulator else None,
        speed=speed,
        origin_ns=origin_ns,
    )
    return plan, spoken
