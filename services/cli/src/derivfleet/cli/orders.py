"""``derivfleet orders``: what was asked for, and what became of it."""

from __future__ import annotations

import asyncio
import json as json_text
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToDict

from derivfleet.cli.client import OPERATOR, ControlClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console, order_columns, orders_table, state_name
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["orders", "state_of"]

STATES = {
    state_name(value): value for value in orders_pb2.OrderState.values() if value != orders_pb2.ORDER_STATE_UNSPECIFIED
}


def state_of(name: str) -> orders_pb2.OrderState.ValueType:
    """A state by its name, in any case; all states for an empty one. Raises ConfigurationError."""
    if not name:
        return orders_pb2.ORDER_STATE_UNSPECIFIED
    state = STATES.get(name.lower().replace("-", "_"))
    if state is None:
        raise ConfigurationError("--state", f"unknown state {name!r}; known are {', '.join(STATES)}")
    return state


def orders(
    bot: Annotated[str, typer.Option(help="Only this bot's.")] = "",
    state: Annotated[str, typer.Option(help=f"Only in this state: {', '.join(STATES)}.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """List orders of the running fleet, newest first.

    For example:

      derivfleet orders --bot over-4 --limit 50

      derivfleet orders --state unknown            what is being looked up

      derivfleet orders --limit 1000 --json | jq '.[].profit'
    """
    wanted = state_of(state)
    folder = RunDir(run_dir)
    run = folder.running()

    async def ask() -> Sequence[orders_pb2.Order]:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            return await client.orders(limit=limit, bot=bot, state=wanted)

    found = asyncio.run(ask())
    if bot and not found:
        # One that left the fleet may have orders still, so it is asked after first.
        known = [one.name for one in load_fleet(folder.fleet_file).bots]
        if bot not in known:
            raise ConfigurationError("--bot", f"unknown bot {bot!r}; known are {', '.join(known)}")
    if json:
        listed = [MessageToDict(order, preserving_proto_field_name=True) for order in found]
        typer.echo(json_text.dumps(listed, indent=1))
    elif found:
        console = open_console()
        console.print(orders_table(found, order_columns(console)))
    else:
        typer.echo("no orders" + (" like that" if bot or state else " yet"))
