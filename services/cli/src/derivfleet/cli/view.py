"""The fleet on a terminal: bots, quota bars, last orders, profit. Pure: a look in, something to print out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from derivfleet.cli.supervisor import ChildState
from derivfleet.cli.watch import decimal_of, utilisation_of, window_name
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from rich.console import RenderableType

    from derivfleet.cli.watch import Look
    from derivfleet.v1 import quota_pb2

__all__ = ["Clockwork", "line_of", "money", "open_console", "orders_table", "quota_bars", "screen_of", "state_name"]

NS_PER_S = 1_000_000_000
_BAR_WIDTH = 24
_PIPE_WIDTH = 180
_FULL, _BUSY = 0.95, 0.7
_STATE_STYLES = {
    orders_pb2.ORDER_STATE_SETTLED: "green",
    orders_pb2.ORDER_STATE_CONFIRMED: "cyan",
    orders_pb2.ORDER_STATE_UNKNOWN: "bold yellow",
    orders_pb2.ORDER_STATE_DENIED: "red",
    orders_pb2.ORDER_STATE_REJECTED: "red",
    orders_pb2.ORDER_STATE_NOT_FOUND: "red",
}


@dataclass(frozen=True, slots=True)
class Clockwork:
    """How long a run has been going, and how long it is to go; wall seconds, 0 for "until Ctrl-C"."""

    elapsed_s: float
    duration_s: float


def open_console() -> Console:
    """Standard output as a console. A pipe or a log has no width, so there nothing is cut to fit one."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def state_name(state: orders_pb2.OrderState.ValueType) -> str:
    """As ``settled``."""
    return orders_pb2.OrderState.Name(state).removeprefix("ORDER_STATE_").lower()


def money(amount: Decimal) -> Text:
    """An amount with its sign, green or red."""
    return Text(f"{amount:+.2f}", style="green" if amount > 0 else "red" if amount < 0 else "dim")


def line_of(look: Look, clockwork: Clockwork) -> str:
    """One plain line of progress, for a log or a pipe."""
    running = sum(bot.state == ChildState.RUNNING for bot in look.bots)
    facts = [
        f"{clockwork.elapsed_s:5.0f} s",
        f"bots {running}/{len(look.bots)}",
        f"buys {look.total('buys')}",
        f"open {look.total('open')}",
        f"settled {look.total('settled')}",
        f"wins {look.total('wins')}",
        f"profit {look.profit:+.2f}",
    ]
    if unknown := look.total("unknown"):
        facts.append(f"unknown {unknown}")
    if errors := look.total("errors"):
        facts.append(f"errors {errors}")
    if look.account is not None and look.account.windows:
        fullest = max(look.account.windows, key=utilisation_of)
        facts.append(f"{window_name(fullest)} {utilisation_of(fullest):.0%}")
    if look.problem:
        facts.append(look.problem)
    return "  ".join(facts)


def screen_of(look: Look, clockwork: Clockwork, web: str) -> RenderableType:
    """The whole live view."""
    parts: list[RenderableType] = [_header(look, web)]
    if clockwork.duration_s:
        parts.append(_progress(clockwork))
    parts.append(_bots(look))
    if look.account is not None:
        parts.append(quota_bars(look.account.windows))
    if look.orders:
        parts.append(orders_table(look.orders, title="last orders"))
    parts.append(Text("Ctrl-C ends the fleet", style="dim"))
    return Group(*parts)


def _header(look: Look, web: str) -> RenderableType:
    header = Table.grid(padding=(0, 3))
    title = Text("derivfleet", style="bold")
    account = look.account
    if account is None or not account.login_id:
        header.add_row(title, Text("waiting for Deriv …", style="yellow"))
    else:
        kind = "demo" if account.is_demo else "real"
        header.add_row(
            title,
            f"{account.login_id} ({kind}, {account.dialect})",
            f"balance {account.balance or '?'} {account.currency}",
            Text.assemble("profit ", money(look.profit)),
            Text(f"http://{web}", style="underline"),
        )
    troubles = [
        f"{service.name} {service.state.value}" for service in look.services if service.state != ChildState.RUNNING
    ]
    if account is not None:
        troubles += [f"{one.role} socket {one.state}: {one.problem}" for one in account.connections if one.problem]
        if account.rejected_by_deriv:
            troubles.append(f"{account.rejected_by_deriv} calls refused by Deriv for rate")
        if account.foreign_trades:
            troubles.append(f"{account.foreign_trades} trades on the account that are not the fleet's")
    if look.problem:
        troubles.append(look.problem)
    return Group(header, *(Text(trouble, style="yellow") for trouble in troubles))


def _progress(clockwork: Clockwork) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    done = min(clockwork.elapsed_s, clockwork.duration_s)
    row.add_row(
        ProgressBar(total=clockwork.duration_s, completed=done, width=60),
        f"{done:.0f} of {clockwork.duration_s:.0f} s",
    )
    return row


def _bots(look: Look) -> Table:
    table = Table(expand=False, show_edge=False, pad_edge=False)
    for name in ("bot", "process"):
        table.add_column(name)
    for name in ("calls", "buys", "open", "settled", "wins", "errors", "profit"):
        table.add_column(name, justify="right")
    for bot in look.bots:
        is_running = bot.state == ChildState.RUNNING
        state = bot.state if not bot.restarts else f"{bot.state} ({bot.restarts} restarts)"
        one = bot.counts
        numbers = (str(value) for value in (one.ops, one.buys, one.open, one.settled, one.wins, one.errors))
        table.add_row(bot.name, Text(state, style="" if is_running else "yellow"), *numbers, money(bot.profit))
    table.add_section()
    fields = ("ops", "buys", "open", "settled", "wins", "errors")
    table.add_row("fleet", "", *(str(look.total(field)) for field in fields), money(look.profit), style="bold")
    return table


def quota_bars(windows: Iterable[quota_pb2.QuotaWindow]) -> RenderableType:
    """How full each window of the account's limits is."""
    table = Table.grid(padding=(0, 2))
    for window in windows:
        used = utilisation_of(window)
        style = "red" if used >= _FULL else "yellow" if used >= _BUSY else "green"
        table.add_row(
            window_name(window),
            ProgressBar(total=1.0, completed=min(1.0, used), width=_BAR_WIDTH, complete_style=style),
            f"{window.used}/{window.deriv_limit}",
        )
    return table


def orders_table(orders: Sequence[orders_pb2.Order], title: str = "") -> Table:
    """Orders as given, one a row; times are UTC of the fleet's clock."""
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for name in ("time", "bot", "contract", "symbol", "state"):
        table.add_column(name)
    for name in ("stake", "profit"):
        table.add_column(name, justify="right")
    table.add_column("order id", overflow="fold", style="dim")
    for order in orders:
        terms = order.terms
        asked = datetime.fromtimestamp(order.intended_time_ns / NS_PER_S, UTC)
        state = state_name(order.state) + (f" {order.error_code}" if order.error_code else "")
        table.add_row(
            f"{asked:%H:%M:%S}",
            order.bot,
            f"{terms.contract_type} {terms.barrier}".strip() + f" {terms.duration}{terms.duration_unit}",
            terms.symbol,
            Text(state, style=_STATE_STYLES.get(order.state, "")),
            terms.stake,
            money(decimal_of(order.profit)) if order.profit else "",
            order.order_id,
        )
    return table
