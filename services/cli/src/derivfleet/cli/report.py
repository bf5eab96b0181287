"""``derivfleet report``: five minutes, or any other period, summed up by the metrics service."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson

from derivfleet.cli.client import OPERATOR, ReportsClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.sheets import csv_of, html_of, markdown_of, screen_of, sheets_of
from derivfleet.cli.view import open_console
from derivfleet.common.errors import ConfigurationError
from derivfleet.v1 import reports_pb2

__all__ = ["Form", "epoch_of", "period_of", "report", "request_of"]

_MOST_S = 86_400
_LEAST_S = 60
_PERIOD = re.compile(r"(\d+)([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def epoch_of(text: str) -> int:
    """A time as epoch seconds: digits, or ISO 8601 (UTC unless it says otherwise); 0 for an empty text.

    Raises ConfigurationError.
    """
    if not text or text.isdigit():
        return int(text or 0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError("--at", f"must be like 2026-11-21T09:35 or epoch seconds, not {text!r}") from None
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp())


def period_of(text: str) -> int:
    """A length of time in seconds: 300, 300s, 5m, 1h, 1d; 0 for an empty text. Raises ConfigurationError."""
    if not text:
        return 0
    match = _PERIOD.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ConfigurationError("--period", f"must be like 5m, 1h, 1d or 300, not {text!r}")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > _MOST_S:
        raise ConfigurationError("--period", f"must be at most a day, not {text!r}")
    if seconds % _LEAST_S:
        raise ConfigurationError("--period", f"must be whole minutes, not {text!r}")
    return seconds


class Form(StrEnum):
    """How a report is written down."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


def request_of(
    at: str = "", period: str = "", hour: str = "", day: str = "", compare: bool = False
) -> reports_pb2.GetReportRequest:
    """What the options ask for. Raises ConfigurationError."""
    if sum(map(bool, (period, hour, day))) > 1:
        raise ConfigurationError("--day", "goes without --hour and --period")
    if at and (hour or day):
        raise ConfigurationError("--at", "goes with --period; --hour and --day name their own time")
    request = reports_pb2.GetReportRequest(at_epoch_s=epoch_of(at), period_s=period_of(period), compare=compare)
    named = {"now": 0, "last": 1} if hour else {"today": 0, "yesterday": 1}
    if hour or day:
        request.kind = "hour" if hour else "day"
        when = hour or day
        if when in named:
            request.back = named[when]
        elif hour:
            request.at_epoch_s = _time_of("--hour", hour, "now, last or a time like 2026-11-21T09")
        else:
            request.date = _date_of(day)
    return request


def _date_of(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ConfigurationError("--day", "must be today, yesterday or a date like 2026-11-21") from None


def _time_of(option: str, text: str, like: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(option, f"must be {like}") from None
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp())


def report(
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    at: Annotated[str, typer.Option(help="A time in the period: 2026-11-21T09:35 (UTC) or epoch seconds.")] = "",
    period: Annotated[str, typer.Option(help="Length of the period: 5m, 1h, 1d.")] = "",
    hour: Annotated[str, typer.Option(help="An hour: now, last, or a time in it (UTC), as 2026-11-21T09.")] = "",
    day: Annotated[str, typer.Option(help="A day of the fleet's time zone: today, yesterday, or its date.")] = "",
    compare: Annotated[bool, typer.Option("--compare", help="Beside the period before, and the day before.")] = False,
    form: Annotated[Form, typer.Option("--format", help="How it is written down.")] = Form.TABLE,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """Print the report of the running five minutes, or of another period.

    Five-minute, hourly and daily reports become final when everything has arrived, or after a grace; what late news
    changes is told as a revision.

    For example:

      derivfleet report

      derivfleet report --day yesterday --compare

      derivfleet report --period 1h --at 2026-11-21T09:35

      derivfleet report --hour last --format html > hour.html

      derivfleet report --json | jq '.fleet.win_rate'
    """
    request = request_of(at, period, hour, day, compare)
    folder = RunDir(run_dir)
    run = folder.running()
    if request.at_epoch_s > (now_s := run.clock.now_s()):
        option = "--hour" if hour else "--at"
        now = datetime.fromtimestamp(now_s, UTC)
        raise ConfigurationError(option, f"must not be in the future; the fleet's clock says {now:%Y-%m-%dT%H:%M:%S}")
    request.at_epoch_s = min(request.at_epoch_s, int(now_s))

    async def ask() -> reports_pb2.GetReportResponse:
        async with ReportsClient(run.metrics, folder.token(OPERATOR)) as client:
            return await client.compared(request)

    answer = asyncio.run(ask())
    sheets = sheets_of(answer)
    match Form.JSON if json else form:
        case Form.JSON:
            told = answer if compare else answer.report
            typer.echo(MessageToJson(told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        case Form.MARKDOWN:
            typer.echo(markdown_of(sheets), nl=False)
        case Form.HTML:
            typer.echo(html_of(sheets), nl=False)
        case Form.CSV:
            typer.echo(csv_of(answer.report), nl=False)
        case Form.TABLE:
            console = open_console()
            for part in screen_of(sheets):
                console.print(part, highlight=False)
