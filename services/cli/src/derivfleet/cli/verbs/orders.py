"""``derivfleet orders``: what was asked for, and what became of it."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, JsonOption, RunDirOption
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.order_state import OrderState

if TYPE_CHECKING:
    from derivfleet.v1 import orders_pb2

__all__ = ["orders_app", "state_of"]


def state_of(name: str) -> orders_pb2.OrderState.ValueType:
    """A state by its name, in any case; all states for an empty one. Raises ConfigurationError."""
    from derivfleet.v1 import orders_pb2

    if not name:
        return orders_pb2.ORDER_STATE_UNSPECIFIED
    normal = name.lower().replace("-", "_")
    if normal not in list(OrderState):
        raise ConfigurationError("--state", f"unknown state {name!r}; known are {', '.join(OrderState)}")
    return orders_pb2.OrderState.Value(f"ORDER_STATE_{normal.upper()}")


orders_app = typer.Typer()


@orders_app.callback(invoke_without_command=True)
def orders(
    context: typer.Context,
    bot: Annotated[str, typer.Option(help="Only this bot's.")] = "",
    state: Annotated[str, typer.Option(help=f"Only in this state: {', '.join(OrderState)}.")] = "",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only those whose fate is not known, with the purchases they may be.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 20,
    json: JsonOption = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """List orders of the running fleet, newest first.

    For example:

      derivfleet orders --bot over-4 --limit 50

      derivfleet orders --unknown                  what is being looked up, and what you have to decide

      derivfleet orders --limit 1000 --json | jq '.[].profit'
    """
    if context.invoked_subcommand is not None:
        return
    from google.protobuf.json_format import MessageToDict

    from derivfleet.cli.clients import ControlClient, ask
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console
    from derivfleet.cli.screens.orders import doubtful_orders_table, order_columns, orders_table
    from derivfleet.common.fleet import load_fleet

    wanted = state_of(state)
    folder = RunDir(run_dir)
    if unknown:
        doubtful = ask(ControlClient, folder, lambda client: client.doubtful())
        found = [one for one in doubtful if bot in ("", one.bot)][:limit]
    else:
        found = ask(ControlClient, folder, lambda client: client.orders(limit=limit, bot=bot, state=wanted))
    if bot and not found:
        # One that left the fleet may have orders still, so it is asked after first.
        known = [one.name for one in load_fleet(folder.fleet_file).bots]
        if bot not in known:
            raise ConfigurationError("--bot", f"unknown bot {bot!r}; known are {', '.join(known)}")
    if json:
        listed = [MessageToDict(order, preserving_proto_field_name=True) for order in found]
        typer.echo(json_text.dumps(listed, indent=1))
    elif found and unknown:
        open_console().print(doubtful_orders_table(found))
        typer.echo("derivfleet orders resolve ORDER --contract ID | --not-bought   says what became of one")
    elif found:
        console = open_console()
        console.print(orders_table(found, order_columns(console)))
    else:
        typer.echo("no orders" + (" like that" if bot or state or unknown else " yet"))


@orders_app.command()
def resolve(
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Its id.")],
    contract: Annotated[int, typer.Option(min=0, help="It bought this contract.")] = 0,
    not_bought: Annotated[bool, typer.Option("--not-bought", help="It bought nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, for programs.")] = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """Say what became of an order that the account's records leave open.

    Look at the account's statement at Deriv first. The gateway checks that the contract is what the order was to buy
    and belongs to no other, and writes down who decided and when. For example:

      derivfleet orders --unknown

      derivfleet orders resolve over-4:R_100:1795161600:0 --contract 301234567888

      derivfleet orders resolve over-4:R_100:1795161600:0 --not-bought
    """
    from derivfleet.cli.clients import ControlClient, ask
    from derivfleet.cli.errors import CommandError
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console
    from derivfleet.cli.screens.orders import doubtful_orders_table, state_name

    if bool(contract) == not_bought:
        raise ConfigurationError("--contract", "name the contract that it bought, or say --not-bought")
    folder = RunDir(run_dir)
    account = folder.running().account
    what = f"bought contract {contract}" if contract else "bought nothing"
    doubtful = ask(ControlClient, folder, lambda client: client.doubtful())
    shown = [one for one in doubtful if one.order_id == order_id]
    if shown:
        open_console().print(doubtful_orders_table(shown))
    if not yes:
        try:
            agreed = typer.confirm(f"{order_id} {what}: is that so?")
        except typer.Abort:
            agreed = False
        if not agreed:
            raise CommandError("nothing was changed")
    order = ask(ControlClient, folder, lambda client: client.resolve(account, order_id, contract))
    typer.echo(f"{order.order_id} is {state_name(order.state)}, resolved by {order.resolved_by}")
