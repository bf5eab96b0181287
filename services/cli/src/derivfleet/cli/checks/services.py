"""Checks of what runs: Deriv or the simulator and its clock, the gateway, the metrics service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.cli.checks.result import CheckResult, Mark
from derivfleet.cli.clients import OPERATOR, ControlClient, ReportsClient
from derivfleet.cli.errors import CommandError
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from derivfleet.cli.run.run_dir import RunDir, RunFile
    from derivfleet.common.clock import Clock

__all__ = ["PUBLIC_PATH", "check_clock", "check_deriv", "check_gateway", "check_metrics", "deriv_url"]

DERIV_URL = "wss://api.derivws.com"
LEGACY_URL = "wss://ws.derivws.com"
ANSWER_WALL_S = 8.0
CLOCK_TOLERANCE_S = 2.0
"""Deriv tells its time in whole seconds, and a bot drops decisions that are a few seconds old."""
PUBLIC_PATH = "/trading/v1/options/ws/public"
LEGACY_PATH = "/websockets/v3"


def deriv_url(dialect: str, app_id: str) -> str:
    """Where Deriv tells its time without a login."""
    if dialect == "legacy" or (dialect == "auto" and app_id.isdigit()):
        return f"{LEGACY_URL}{LEGACY_PATH}?app_id={app_id}&l=EN"
    return f"{DERIV_URL}{PUBLIC_PATH}"


async def check_deriv(whose: str, url: str, clock: Clock) -> CheckResult:
    """Whether Deriv (or the simulator) answers, and whether the clocks agree; asked with ``time``, without a login."""
    import aiohttp  # noqa: PLC0415 - a quarter of the command's start, and not every check needs it

    timeout = aiohttp.ClientTimeout(total=ANSWER_WALL_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.ws_connect(url) as socket:
            asked_s = clock.now_s()
            await socket.send_json({"time": 1, "req_id": 1})
            answer = await socket.receive_json(timeout=ANSWER_WALL_S)
            answered_s = clock.now_s()
        their_epoch_s = int(answer["time"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        problem = " ".join(str(error).split()) or "no answer in time"
        return CheckResult(Mark.BAD, f"{whose} cannot be reached ({problem})", "check the network, proxy and firewall")
    except (KeyError, TypeError, ValueError):
        return CheckResult(Mark.BAD, f"{whose} answers something else than its time", "is the address right?")
    return check_clock(whose, their_epoch_s, asked_s, answered_s, clock.speed)


def check_clock(whose: str, their_epoch_s: int, asked_s: float, answered_s: float, speed: float) -> CheckResult:
    """Compare clocks: their whole second against our time at the question and at the answer (fleet seconds).

    Their time lies in [their_epoch_s, their_epoch_s + 1) at some moment between question and answer.
    """
    behind_s = their_epoch_s - answered_s
    ahead_s = asked_s - (their_epoch_s + 1)
    off_s = max(behind_s, ahead_s, 0.0)
    # A fast clock moves far while an answer travels; the tolerance travels with it.
    if off_s <= CLOCK_TOLERANCE_S * max(1.0, speed):
        return CheckResult(Mark.GOOD, f"the clock agrees with {whose}'s" + (f" ({off_s:.1f} s off)" if off_s else ""))
    side = "behind" if behind_s > ahead_s else "ahead of"
    todo = "set it (NTP); bots would drop decisions as too late or trade on old prices"
    return CheckResult(Mark.BAD, f"the clock is {off_s:.1f} s {side} {whose}'s", todo)


async def check_gateway(run: RunFile, folder: RunDir) -> list[CheckResult]:
    try:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            status = await client.status()
    except (CommandError, ConfigurationError) as error:
        return [CheckResult(Mark.BAD, str(error), f"look into {folder.log('gateway')}")]
    results = [CheckResult(Mark.GOOD, f"the gateway answers at {run.gateway}")]
    for account in status.accounts:
        for one in account.connections:
            where = f"its {one.role} connection of {account.account} is {one.state}"
            if one.state == "ready":
                results.append(CheckResult(Mark.GOOD, f"{where} ({one.ping_ms:.0f} ms)"))
            else:
                results.append(CheckResult(Mark.BAD, where, one.problem or f"look into {folder.log('gateway')}"))
        if account.rejected_by_deriv:
            what = f"Deriv refused {account.rejected_by_deriv} calls of {account.account} for rate"
            todo = "lower accounts.limits.headroom, or end what else uses this app id"
            results.append(CheckResult(Mark.BAD, what, todo))
        if account.foreign_trades:
            what = f"{account.foreign_trades} trades on {account.account} are not the fleet's"
            results.append(CheckResult(Mark.BAD, what, "let nothing else trade this account"))
        if doubtful := sum(bot.doubtful for bot in account.bots):
            what = f"{doubtful} orders on {account.account} whose fate the records leave open"
            results.append(CheckResult(Mark.BAD, what, "see derivfleet orders --unknown, then orders resolve"))
    return results


async def check_metrics(run: RunFile, folder: RunDir) -> CheckResult:
    try:
        async with ReportsClient(run.metrics, folder.token(OPERATOR)) as client:
            report = await client.report()
    except (CommandError, ConfigurationError) as error:
        return CheckResult(Mark.BAD, str(error), f"look into {folder.log('metrics')}")
    seen = report.completeness
    if not seen.feed_connected:
        what = "the metrics service has lost the gateway's order feed"
        return CheckResult(Mark.BAD, what, f"look into {folder.log('metrics')}")
    return CheckResult(Mark.GOOD, f"the metrics service answers at {run.metrics}, {seen.feed_lag_s:.1f} s behind")
