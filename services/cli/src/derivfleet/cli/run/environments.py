"""What each service of a local fleet is told: one environment a process, nobody told more than it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.cli.run.plan import CREDENTIALS
from derivfleet.common.clock import ORIGIN_VARIABLE, SPEED_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.cli.run.plan import Plan
    from derivfleet.common.fleet import Bot

__all__ = ["OUTSIDE", "bot_of", "environment_of", "environment_of_probe", "processes_of"]

OUTSIDE = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY", "ALERT_WEBHOOK_URL", "TELEGRAM_BOT_TOKEN")
"""Where the metrics service copies its store to and whom it tells, and the secrets that this takes."""


def processes_of(bot: Bot) -> tuple[str, ...]:
    """The names of a bot's processes: its own, or ``name.1``, ``name.2`` … if it has replicas (no bot has a dot)."""
    if bot.replicas == 1:
        return (bot.name,)
    return tuple(f"{bot.name}.{number}" for number in range(1, bot.replicas + 1))


def bot_of(process: str) -> str:
    """Which bot a process belongs to."""
    return process.partition(".")[0]


def environment_of(service: str, plan: Plan, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of ``simulator``, ``metrics``, ``gateway`` or a bot's process (by its name).

    Only the gateway gets a credential, and with a simulator it is the simulator's: a real token never goes to a
    simulator, nor into a process that has no use for it. Only the metrics service gets what it needs to copy its store
    and to tell alerts. Settings of ours that the shell still carries stay out.
    """
    environment = _shared(plan, inherited)
    prefix, told = _told(service, plan)
    environment |= {f"{prefix}{name}": value for name, value in told.items()}
    if service == "gateway":
        environment |= _credential(plan)
    if service == "metrics":
        environment |= {name: inherited[name] for name in OUTSIDE if name in inherited}
    return environment


def environment_of_probe(plan: Plan, told: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a probe, which logs in as the gateway does; ``told`` is what only it is told."""
    told = {**told, **_addresses(plan)}
    named = {f"DERIVFLEET_PROBE_{name}": value for name, value in told.items()}
    return _shared(plan, inherited) | named | _credential(plan)


def _credential(plan: Plan) -> dict[str, str]:
    return dict(zip(CREDENTIALS, (plan.credential.token, plan.credential.app_id), strict=True))


def _addresses(plan: Plan) -> dict[str, str]:
    """Where Deriv is, if that is the simulator."""
    if plan.simulated is None:
        return {}
    return {"DERIV_URL": f"http://{plan.ports.simulator}", "LEGACY_URL": f"ws://{plan.ports.simulator}"}


def _shared(plan: Plan, inherited: Mapping[str, str]) -> dict[str, str]:
    """What every process of ours gets: the shell's variables but for those that are ours, and the clock."""
    environment = {
        name: value
        for name, value in inherited.items()
        if name not in (*CREDENTIALS, *OUTSIDE, SPEED_VARIABLE) and not name.startswith("DERIVFLEET_")
    }
    environment[SPEED_VARIABLE] = f"{plan.speed:g}"
    environment[ORIGIN_VARIABLE] = str(plan.origin_ns)
    # Logs go to files: a line must be there when it is said, not when a buffer is full.
    environment["PYTHONUNBUFFERED"] = "1"
    # gRPC's own chatter about connections that come and go is not a log of ours.
    environment.setdefault("GRPC_VERBOSITY", "ERROR")
    return environment


def _told(service: str, plan: Plan) -> tuple[str, dict[str, str]]:
    run_dir, ports = plan.run_dir, plan.ports
    simulated = plan.simulated
    fleet, tokens = str(run_dir.fleet_file), str(run_dir.tokens / "tokens.json")
    match service:
        case "simulator":
            told = {"LISTEN": ports.simulator, "TOKEN": plan.credential.token, "APP_ID": plan.credential.app_id}
            if simulated is not None:
                told["SEED"] = simulated.seed
                if simulated.settings is not None:
                    told["SETTINGS"] = str(simulated.settings)
            return "DERIVFLEET_SIMULATOR_", told
        case "metrics":
            return "DERIVFLEET_METRICS_", {
                "LISTEN": ports.metrics,
                "WEB": ports.web,
                "GATEWAY": ports.gateway,
                "TOKEN_FILE": str(run_dir.token("metrics")),
                "TOKENS": tokens,
                "STORE": str(run_dir.record("metrics", simulated=simulated is not None)),
                "FLEET": fleet,
                # Its orders are play money: they must not be taken for the account's.
                **({"COPIED_AS": "simulated"} if simulated is not None else {}),
            }
        case "gateway":
            told = {
                "LISTEN": ports.gateway,
                "FLEET": fleet,
                "TOKENS": tokens,
                "JOURNAL": str(run_dir.record("journal", simulated=simulated is not None)),
                "OTLP_ENDPOINT": ports.metrics,
            }
            return "DERIVFLEET_GATEWAY_", told | _addresses(plan)
        case process:
            return "DERIVFLEET_BOT_", {
                "NAME": bot_of(process),
                # A process that is started again is the same replica, so it finds its symbols where it left them.
                "REPLICA": process,
                "FLEET": fleet,
                "GATEWAY": ports.gateway,
                "TOKEN_FILE": str(run_dir.token(bot_of(process))),
                "OTLP_ENDPOINT": ports.metrics,
            }
