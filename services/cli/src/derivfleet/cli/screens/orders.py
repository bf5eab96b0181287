"""Orders as tables: all of them, and those whose fate is not known, with what is known of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.messages import utc
from derivfleet.cli.money import decimal_of, money
from derivfleet.common.clock import NS_PER_S
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

__all__ = [
    "EVERYTHING",
    "REASONS",
    "WIDE",
    "WITHOUT_IDS",
    "doubtful_orders_table",
    "order_columns",
    "orders_table",
    "state_name",
]

WIDE = 108
"""From this width on, an order fits on a line with everything, its id too."""
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
REASONS = {
    "": "being looked for",
    "more_candidates": "more purchases than lost orders like it",
    "foreign_trades": "somebody else buys the like on this account",
    "no_such_contract": "it was tied to a contract that Deriv's records do not know",
    "records_unreadable": "the account's records could not be read",
}


def state_name(state: orders_pb2.OrderState.ValueType) -> str:
    """As ``settled``."""
    return orders_pb2.OrderState.Name(state).removeprefix("ORDER_STATE_").lower()


def _state_and_error(order: orders_pb2.Order) -> str:
    return state_name(order.state) + (f" {order.error_code}" if order.error_code else "")


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
        cells: dict[str, RenderableType] = {
            "time": f"{utc(order.intended_time_ns):%H:%M:%S}",
            "bot": order.bot,
            "contract": f"{terms.contract_type} {terms.barrier}".strip() + f" {terms.duration}{terms.duration_unit}",
            "symbol": terms.symbol,
            "state": Text(_state_and_error(order), style=_STATE_STYLES.get(order.state, "")),
            "stake": terms.stake,
            "profit": money(decimal_of(order.profit)) if order.profit else "",
            "order id": Text(order.order_id, style="dim"),
        }
        table.add_row(*(cells[name] for name in columns))
    return table


def order_columns(console: Console) -> Sequence[str]:
    """What of an order fits on a line beside its id. On a narrow terminal the id itself tells bot and symbol."""
    return EVERYTHING if console.width >= WIDE else BESIDE_ID


def doubtful_orders_table(orders: Sequence[orders_pb2.Order]) -> Table:
    """One row an order; times are UTC of the fleet's clock."""
    table = Table(show_edge=False, pad_edge=False, show_lines=True)
    for name in ("order id", "was to buy", "sent", "why unknown", "may be"):
        table.add_column(name, overflow="fold")
    for order in orders:
        terms = order.terms
        reason = REASONS.get(order.doubt, order.doubt)
        candidates = [
            f"{one.contract_id} ({utc(one.purchase_epoch_s * NS_PER_S):%H:%M:%S}, pays {one.payout})"
            for one in order.candidates
        ]
        table.add_row(
            order.order_id,
            " ".join(
                part
                for part in (
                    *(terms.contract_type, terms.barrier, f"{terms.duration}{terms.duration_unit}"),
                    *(terms.symbol, f"for {terms.stake}"),
                )
                if part
            ),
            f"{utc(order.sent_time_ns):%Y-%m-%d %H:%M:%S}",
            Text(f"{_state_and_error(order)}: {reason}", style="yellow" if order.doubt else ""),
            "\n".join(candidates) or "-",
        )
    return table
