"""The fleet on a terminal: bots, quota bars, last orders, profit. Pure: a look in, something to print out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table
from rich.text import Text

from derivfleet.cli.gauges import quota_bars, quota_line, troubled_breaker
from derivfleet.cli.supervisor import ChildState
from derivfleet.cli.watch import decimal_of, utilisation_of, window_name
from derivfleet.common.clock import NS_PER_S
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from derivfleet.cli.watch import Look

__all__ = [
    "Clockwork",
    "amount",
    "line_of",
    "money",
    "open_console",
    "order_columns",
    "orders_table",
    "screen_of",
    "state_name",
]

_PIPE_WIDTH = 180
_WIDE = 108
"""From this width on, an order fits on a line with everything, its id too."""
_ROOMY, _NARROW = 92, 70
"""Below the one width a bot's calls are left out, below the other its process too."""
_OTHER_ROWS = 6
"""Of the live view: the head and the foot of the table of bots, the last line, and one to spare."""
_ROWS_ABOVE_ORDERS = 3
_FEWEST_ORDERS = 3
EVERYTHING = ("time", "bot", "contract", "symbol", "state", "stake", "profit", "order id")
WITHOUT_IDS = ("time", "bot", "contract", "symbol", "state", "profit")
BESIDE_ID = ("time", "contract", "state", "profit", "order id")
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


def money(value: Decimal) -> Text:
    """An amount with its sign, green or red."""
    return Text(f"{value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "dim")


def amount(text: str) -> str:
    """A decimal string with two decimals at least; ``?`` for an empty one."""
    if not text:
        return "?"
    value = Decimal(text)
    return f"{value:.2f}" if value == round(value, 2) else f"{value:f}"


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
    if denied := look.total("denied"):
        facts.append(f"denied {denied}")
    if errors := look.total("errors"):
        facts.append(f"rejected {errors}")
    if look.account is not None and look.account.windows:
        fullest = max(look.account.windows, key=utilisation_of)
        facts.append(f"{window_name(fullest)} {utilisation_of(fullest):.0%}")
    if look.problem:
        facts.append(look.problem)
    return "  ".join(facts)


def screen_of(look: Look, clockwork: Clockwork, link: str, width: int, height: int) -> RenderableType:
    """The whole live view, cut to fit a screen of so many characters: first the orders go, then bots."""
    above: list[RenderableType] = [*_head(look, link)]
    troubles = _troubles(look)
    above += [Text(trouble, style="yellow") for trouble in troubles]
    if clockwork.duration_s:
        above.append(_progress(clockwork))
    quota = quota_bars(() if look.account is None else look.account.windows, width)
    loans = Text() if look.account is None else quota_line(look.account)
    wrapped = sum((len(trouble) - 1) // width for trouble in troubles)
    room = height - len(above) - wrapped - quota.row_count - bool(loans) - _OTHER_ROWS
    rows = len(look.bots) if len(look.bots) <= room else max(1, room - 1)
    parts = [*above, _bots(look, rows, width), quota, *((loans,) if loans else ())]
    room -= rows + _ROWS_ABOVE_ORDERS
    if room >= _FEWEST_ORDERS and look.orders:
        columns = EVERYTHING if width >= _WIDE else WITHOUT_IDS
        parts.append(orders_table(look.orders[:room], columns, "last orders", one_line=True))
    return Group(*parts, Text("Ctrl-C ends the fleet", style="dim"))


def _head(look: Look, link: str) -> list[Text]:
    title = Text("derivfleet", style="bold")
    # Terminals that know links open the whole of it; it was printed above for the others.
    page = Text(link.partition("/#")[0], style=Style(underline=True, link=link))
    account = look.account
    if account is None or not account.login_id:
        return [Text("   ").join((title, Text("waiting for Deriv …", style="yellow"), page))]
    kind = "demo" if account.is_demo else "real"
    return [
        Text("   ").join((title, Text(f"{account.login_id} ({kind}, {account.dialect})"), page)),
        Text.assemble(f"balance {amount(account.balance)} {account.currency}   profit ", money(look.profit)),
    ]


def _troubles(look: Look) -> list[str]:
    account = look.account
    troubles = [
        f"{service.name} {service.state.value}" for service in look.services if service.state != ChildState.RUNNING
    ]
    if account is not None:
        troubles += [f"{one.role} socket {one.state}: {one.problem}" for one in account.connections if one.problem]
        if breaker := troubled_breaker(account, look.time_ns):
            troubles.append(breaker)
        if account.rejected_by_deriv:
            troubles.append(f"{account.rejected_by_deriv} calls refused by Deriv for rate")
        if account.foreign_trades:
            troubles.append(f"{account.foreign_trades} trades on the account that are not the fleet's")
        if doubtful := sum(bot.doubtful for bot in account.bots):
            troubles.append(f"{doubtful} orders that you must decide about: derivfleet orders --unknown")
    return [*troubles, look.problem] if look.problem else troubles


def _progress(clockwork: Clockwork) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    done = min(clockwork.elapsed_s, clockwork.duration_s)
    row.add_row(
        ProgressBar(total=clockwork.duration_s, completed=done, width=60),
        f"{done:.0f} of {clockwork.duration_s:.0f} s",
    )
    return row


def _bots(look: Look, most: int, width: int) -> Table:
    left_out = {"calls", "rejected"} if width < _ROOMY else set[str]()
    left_out |= {"process"} if width < _NARROW else set[str]()
    names = ("process", "calls", "buys", "open", "settled", "wins", "denied", "rejected", "profit")
    columns = [name for name in names if name not in left_out]
    table = Table(expand=False, show_edge=False, pad_edge=False)
    table.add_column("bot", overflow="fold", min_width=len("and 99 more"))
    for name in columns:
        table.add_column(name, justify="left" if name == "process" else "right", no_wrap=True)
    for bot in look.bots[:most]:
        is_running = bot.state == ChildState.RUNNING
        state = f"{bot.state} ↻{bot.restarts}" if is_running and bot.restarts else bot.state
        process = Text(state, style="" if is_running else "yellow")
        row = {"process": process, "profit": money(bot.profit), **_numbers(partial(getattr, bot.counts))}
        table.add_row(bot.name, *(row[name] for name in columns))
    if more := len(look.bots) - most:
        table.add_row(f"and {more} more", style="dim")
    table.add_section()
    row = {"process": Text(), **_numbers(look.total), "profit": money(look.profit)}
    table.add_row("fleet", *(row[name] for name in columns), style="bold")
    return table


def _numbers(count: Callable[[str], int]) -> dict[str, RenderableType]:
    """What the columns show, by the fields of the gateway's answer."""
    same = ("buys", "open", "settled", "wins", "denied")
    fields = {"calls": "ops", "rejected": "errors"} | {name: name for name in same}
    return {name: str(count(field)) for name, field in fields.items()}


def orders_table(
    orders: Sequence[orders_pb2.Order], columns: Sequence[str] = EVERYTHING, title: str = "", *, one_line: bool = False
) -> Table:
    """Orders as given, one a row; times are UTC of the fleet's clock. What does not fit is folded, or cut."""
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for name in columns:
        justify = "right" if name in ("stake", "profit") else "left"
        table.add_column(name, justify=justify, overflow="ellipsis" if one_line else "fold", no_wrap=one_line)
    for order in orders:
        terms = order.terms
        asked = datetime.fromtimestamp(order.intended_time_ns / NS_PER_S, UTC)
        state = state_name(order.state) + (f" {order.error_code}" if order.error_code else "")
        cells: dict[str, RenderableType] = {
            "time": f"{asked:%H:%M:%S}",
            "bot": order.bot,
            "contract": f"{terms.contract_type} {terms.barrier}".strip() + f" {terms.duration}{terms.duration_unit}",
            "symbol": terms.symbol,
            "state": Text(state, style=_STATE_STYLES.get(order.state, "")),
            "stake": terms.stake,
            "profit": money(decimal_of(order.profit)) if order.profit else "",
            "order id": Text(order.order_id, style="dim"),
        }
        table.add_row(*(cells[name] for name in columns))
    return table


def order_columns(console: Console) -> Sequence[str]:
    """What of an order fits on a line beside its id. On a narrow terminal the id itself tells bot and symbol."""
    return EVERYTHING if console.width >= _WIDE else BESIDE_ID
