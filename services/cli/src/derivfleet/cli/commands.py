"""The commands of ``derivfleet``, put together."""

from __future__ import annotations

import typer

from derivfleet.cli.errors import OneLineGroup
from derivfleet.cli.verbs.alerts import alerts_app
from derivfleet.cli.verbs.doctor import doctor
from derivfleet.cli.verbs.orders import orders_app
from derivfleet.cli.verbs.page import page
from derivfleet.cli.verbs.probe import probe
from derivfleet.cli.verbs.quota import quota
from derivfleet.cli.verbs.report import report
from derivfleet.cli.verbs.status import status
from derivfleet.cli.verbs.trace import trace
from derivfleet.cli.verbs.up import up

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
app.add_typer(orders_app, name="orders")
for command in (report, trace, doctor, probe):
    app.command()(command)
app.add_typer(alerts_app, name="alerts")
