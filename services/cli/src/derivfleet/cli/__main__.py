"""The ``derivfleet`` command."""

from __future__ import annotations

import os

import typer

from derivfleet.cli.complaints import OneLineGroup
from derivfleet.cli.doctor import doctor
from derivfleet.cli.orders import orders
from derivfleet.cli.report import report
from derivfleet.cli.status import status
from derivfleet.cli.trace import trace
from derivfleet.cli.up import up

__all__ = ["app", "main"]

app = typer.Typer(
    name="derivfleet",
    cls=OneLineGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run a fleet of trading bots on Deriv through one gateway.",
    epilog="Begin with: derivfleet up --simulator",
)
for command in (up, status, orders, report, trace, doctor):
    app.command()(command)


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    # gRPC's own chatter about connections that come and go would stand between the lines.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    app()


if __name__ == "__main__":
    main()
