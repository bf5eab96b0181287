"""The fleet on a terminal: bots, quota bars, last orders, profit. Pure: a status in, something to print out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table
from rich.text import Text

from derivfleet.cli.money import amount, money
from derivfleet.cli.run.fleet_status import utilisation_of, window_name
from derivfleet.cli.run.supervisor import ChildState
from derivfleet.cli.screens.orders import EVERYTHING, WIDE, WITHOUT_IDS, orders_table
from derivfleet.cli.screens.quota import quota_bars, quota_line, troubled_breaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from derivfleet.cli.run.fleet_status import FleetStatus

__all__ = ["RunTime", "live_screen", "progress_line"]

_ROOMY, _NARROW = 92, 70
"""Below the one width a bot's calls are left out, below the other its process too."""
_OTHER_ROWS = 6
"""Of the live view: the head and the foot of the table of bots, the last line, and one to spare."""
_ROWS_ABOVE_ORDERS = 3
_FEWEST_ORDERS = 3


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long a run has been going, and how long it is to go; wall seconds, 0 for "until Ctrl-C"."""

    elapsed_s: float
    duration_s: float


def progress_line(status: FleetStatus, time: RunTime) -> str:
    """One plain line of progress, for a log or a pipe."""
    running = sum(bot.state == ChildState.RUNNING for bot in status.bots)
    facts = [
        f"{time.elapsed_s:5.0f} s",
        f"bots {running}/{len(status.bots)}",
        f"buys {status.total('buys')}",
        f"open {status.total('open')}",
        f"settled {status.total('settled')}",
        f"wins {status.total('wins')}",
        f"profit {status.profit:+.2f}",
    ]
    if unknown := status.total("unknown"):
        facts.append(f"unknown {unknown}")
    if denied := status.total("denied"):
        facts.append(f"denied {denied}")
    if errors := status.total("errors"):
        facts.append(f"rejected {errors}")
    if status.account is not None and status.account.windows:
        fullest = max(status.account.windows, key=utilisation_of)
        facts.append(f"{window_name(fullest)} {utilisation_of(fullest):.0%}")
    if status.problem:
        facts.append(status.problem)
    return "  ".join(facts)


def live_screen(status: FleetStatus, time: RunTime, link: str, width: int, height: int) -> RenderableType:
    """The whole live view, cut to fit a screen of so many characters: first the orders go, then bots."""
    above: list[RenderableType] = [*_head(status, link)]
    troubles = _troubles(status)
    above += [Text(trouble, style="yellow") for trouble in troubles]
    if time.duration_s:
        above.append(_progress(time))
    quota = quota_bars(() if status.account is None else status.account.windows, width)
    loans = Text() if status.account is None else quota_line(status.account)
    wrapped = sum((len(trouble) - 1) // width for trouble in troubles)
    room = height - len(above) - wrapped - quota.row_count - bool(loans) - _OTHER_ROWS
    rows = len(status.bots) if len(status.bots) <= room else max(1, room - 1)
    parts = [*above, _bots(status, rows, width), quota, *((loans,) if loans else ())]
    room -= rows + _ROWS_ABOVE_ORDERS
    if room >= _FEWEST_ORDERS and status.orders:
        columns = EVERYTHING if width >= WIDE else WITHOUT_IDS
        parts.append(orders_table(status.orders[:room], columns, "last orders", one_line=True))
    return Group(*parts, Text("Ctrl-C ends the fleet", style="dim"))


def _head(status: FleetStatus, link: str) -> list[Text]:
    title = Text("derivfleet", style="bold")
    # Terminals that know links open the whole of it; it was printed above for the others.
    page = Text(link.partition("/#")[0], style=Style(underline=True, link=link))
    account = status.account
    if account is None or not account.login_id:
        return [Text("   ").join((title, Text("waiting for Deriv …", style="yellow"), page))]
    kind = "demo" if account.is_demo else "real"
    return [
        Text("   ").join((title, Text(f"{account.login_id} ({kind}, {account.dialect})"), page)),
        Text.assemble(f"balance {amount(account.balance)} {account.currency}   profit ", money(status.profit)),
    ]


def _troubles(status: FleetStatus) -> list[str]:
    account = status.account
    troubles = [
        f"{service.name} {service.state.value}" for service in status.services if service.state != ChildState.RUNNING
    ]
    if account is not None:
        troubles += [f"{one.role} socket {one.state}: {one.problem}" for one in account.connections if one.problem]
        if breaker := troubled_breaker(account, status.time_ns):
            troubles.append(breaker)
        if account.rejected_by_deriv:
            troubles.append(f"{account.rejected_by_deriv} calls refused by Deriv for rate")
        if account.foreign_trades:
            troubles.append(f"{account.foreign_trades} trades on the account that are not the fleet's")
        if doubtful := sum(bot.doubtful for bot in account.bots):
            troubles.append(f"{doubtful} orders that you must decide about: derivfleet orders --unknown")
    return [*troubles, status.problem] if status.problem else troubles


def _progress(time: RunTime) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    done = min(time.elapsed_s, time.duration_s)
    row.add_row(
        ProgressBar(total=time.duration_s, completed=done, width=60),
        f"{done:.0f} of {time.duration_s:.0f} s",
    )
    return row


def _bots(status: FleetStatus, most: int, width: int) -> Table:
    left_out = {"calls", "rejected"} if width < _ROOMY else set[str]()
    left_out |= {"process"} if width < _NARROW else set[str]()
    names = ("process", "calls", "buys", "open", "settled", "wins", "denied", "rejected", "profit")
    columns = [name for name in names if name not in left_out]
    table = Table(expand=False, show_edge=False, pad_edge=False)
    table.add_column("bot", overflow="fold", min_width=len("and 99 more"))
    for name in columns:
        table.add_column(name, justify="left" if name == "process" else "right", no_wrap=True)
    for bot in status.bots[:most]:
        is_running = bot.state == ChildState.RUNNING
        state = f"{bot.state} ↻{bot.restarts}" if is_running and bot.restarts else bot.state
        process = Text(state, style="" if is_running else "yellow")
        row = {"process": process, "profit": money(bot.profit), **_numbers(partial(getattr, bot.counts))}
        table.add_row(bot.name, *(row[name] for name in columns))
    if more := len(status.bots) - most:
        table.add_row(f"and {more} more", style="dim")
    table.add_section()
    row = {"process": Text(), **_numbers(status.total), "profit": money(status.profit)}
    table.add_row("fleet", *(row[name] for name in columns), style="bold")
    return table


def _numbers(count: Callable[[str], int]) -> dict[str, RenderableType]:
    """What the columns show, by the fields of the gateway's answer."""
    same = ("buys", "open", "settled", "wins", "denied")
    fields = {"calls": "ops", "rejected": "errors"} | {name: name for name in same}
    return {name: str(count(field)) for name, field in fields.items()}
