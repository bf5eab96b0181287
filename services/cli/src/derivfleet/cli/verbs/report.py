"""``derivfleet report``: five minutes, or any other period, summed up by the metrics service."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, JsonOption, RunDirOption

__all__ = ["Format", "report"]


class Format(StrEnum):
    """How a report is written down."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


def report(
    json: JsonOption = False,
    at: Annotated[str, typer.Option(help="A time in the period: 2026-11-21T09:35 (UTC) or epoch seconds.")] = "",
    period: Annotated[str, typer.Option(help="Length of the period: 5m, 1h, 1d.")] = "",
    hour: Annotated[str, typer.Option(help="An hour: now, last, or a time in it (UTC), as 2026-11-21T09.")] = "",
    day: Annotated[str, typer.Option(help="A day of the fleet's time zone: today, yesterday, or its date.")] = "",
    compare: Annotated[bool, typer.Option("--compare", help="Beside the period before, and the day before.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How it is written down.")] = Format.TABLE,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
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
    from derivfleet.cli.clients import ReportsClient, ask
    from derivfleet.cli.messages import json_of
    from derivfleet.cli.reports.formats import csv_of, html_of, markdown_of, report_screen
    from derivfleet.cli.reports.request import not_in_the_future, request_of
    from derivfleet.cli.reports.tables import report_tables
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console

    folder = RunDir(run_dir)
    request = not_in_the_future(request_of(at, period, hour, day, compare), folder.running().clock.now_s())
    answer = ask(ReportsClient, folder, lambda client: client.compared(request))
    tables = report_tables(answer)
    match Format.JSON if json else form:
        case Format.JSON:
            typer.echo(json_of(answer if compare else answer.report))
        case Format.MARKDOWN:
            typer.echo(markdown_of(tables), nl=False)
        case Format.HTML:
            typer.echo(html_of(tables), nl=False)
        case Format.CSV:
            typer.echo(csv_of(answer.report), nl=False)
        case Format.TABLE:
            console = open_console()
            for part in report_screen(tables):
                console.print(part, highlight=False)
