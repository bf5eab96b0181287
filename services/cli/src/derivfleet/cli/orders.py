"""``derivfleet orders``: what was asked for, and what became of it."""

from __future__ import annotations

import asyncio
import json as json_text
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToDict

from derivfleet.cli.client import OPERATOR, ControlClient
from derivfleet.cli.complaints import CommandError
from derivfleet.cli.doubts import doubts_table
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console, order_columns, orders_table, state_name
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "state_of"]

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


app = typer.Typer()


@app.callback(invoke_without_command=True)
def orders(
    context: typer.Context,
    bot: Annotated[str, typer.Option(help="Only this bot's.")] = "",
    state: Annotated[str, typer.Option(help=f"Only in this state: {', '.join(STATES)}.")] = "",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only those whose fate is not known, with the purchases they may be.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """List orders of the running fleet, newest first.

    For example:

      derivfleet orders --bot over-4 --limit 50

      derivfleet orders --unknown                  what is being looked up, and what you have to decide

      derivfleet orders --limit 1000 --json | jq '.[].profit'
    """
    if context.invoked_subcommand is not None:
        return
    wanted = state_of(state)
    folder = RunDir(run_dir)
    run = folder.running()

    async def ask() -> Sequence[orders_pb2.Order]:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            if unknown:
                return [one for one in await client.doubtful() if bot in ("", one.bot)][:limit]
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
    elif found and unknown:
        open_console().print(doubts_table(found))
        typer.echo("derivfleet orders resolve ORDER --contract ID | --not-bought   says what became of one")
    elif found:
        console = open_console()
        console.print(orders_table(found, order_columns(console)))
    else:
        typer.echo("no orders" + (" like that" if bot or state or unknown else " yet"))


@app.command()
def resolve(
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Its id.")],
    contract: Annotated[int, typer.Option(min=0, help="It bought this contract.")] = 0,
    not_bought: Annotated[bool, typer.Option("--not-bought", help="It bought nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, for programs.")] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """Say what became of an order that the account's records leave open.

    Look at the account's statement at Deriv first. The gateway checks that the contract is what the order was to buy
    and belongs to no other, and writes down who decided and when. For example:

      derivfleet orders --unknown

      derivfleet orders resolve over-4:R_100:1795161600:0 --contract 301234567888

      derivfleet orders resolve over-4:R_100:1795161600:0 --not-bought
    """
    if bool(contract) == not_bought:
        raise ConfigurationError("--contract", "name the contract that it bought, or say --not-bought")
    folder = RunDir(run_dir)
    run = folder.running()
    what = f"bought contract {contract}" if contract else "bought nothing"

    async def ask() -> Sequence[orders_pb2.Order]:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            return [one for one in await client.doubtful() if one.order_id == order_id]

    async def tell() -> orders_pb2.Order:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            return await client.resolve(run.account, order_id, contract)

    shown = asyncio.run(ask())
    if shown:
        open_console().print(doubts_table(shown))
    if not yes:
        try:
            agreed = typer.confirm(f"{order_id} {what}: is that so?")
        except typer.Abort:
            agreed = False
        if not agreed:
            raise CommandError("nothing was changed")
    order = asyncio.run(tell())
    typer.echo(f"{order.order_id} is {state_name(order.state)}, resolved by {order.resolved_by}")
