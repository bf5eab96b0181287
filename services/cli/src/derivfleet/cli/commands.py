"""The commands of ``derivfleet``, put together."""

from __future__ import annotations

import typer

from derivfleet.cli.alerts import alerts_app
from derivfleet.cli.complaints import OneLineGroup
from derivfleet.cli.doctor import doctor
from derivfleet.cli.orders import app as orders
from derivfleet.cli.page import page
from derivfleet.cli.probe import probe
from derivfleet.cli.quota import quota
from derivfleet.cli.report import report
from derivfleet.cli.status import status
from derivfleet.cli.trace import trace
from derivfleet.cli.up import up

__all__ = ["app"]

app = typer.Typer(
    name="derivfleet",
    cls=OneLineGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run a fleet of trading bots on Deriv through one gateway.",
    epilog="Begin with: derivfleet up --simulator",
)
for command in (up, page, status, quota):
    app.command()(command)
app.add_typer(orders, name="orders")
for command in (report, trace, doctor, probe):
    app.command()(command)
app.add_typer(alerts_app, name="alerts")
