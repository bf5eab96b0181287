"""Orders whose fate is not known, with what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.view import state_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.v1 import orders_pb2

__all__ = ["REASONS", "doubts_table"]

NS_PER_S = 1_000_000_000
REASONS = {
    "": "being looked for",
    "more_candidates": "more purchases than lost orders like it",
    "foreign_trades": "somebody else buys the like on this account",
    "no_such_contract": "it was tied to a contract that Deriv's records do not know",
    "records_unreadable": "the account's records could not be read",
}


def doubts_table(orders: Sequence[orders_pb2.Order]) -> Table:
    """One row an order; times are UTC of the fleet's clock."""
    table = Table(show_edge=False, pad_edge=False, show_lines=True)
    for name in ("order id", "was to buy", "sent", "why unknown", "may be"):
        table.add_column(name, overflow="fold")
    for order in orders:
        terms = order.terms
        sent = datetime.fromtimestamp(order.sent_time_ns / NS_PER_S, UTC)
        reason = REASONS.get(order.doubt, order.doubt)
        state = state_name(order.state) + (f" {order.error_code}" if order.error_code else "")
        candidates = [
            f"{one.contract_id} ({datetime.fromtimestamp(one.purchase_epoch_s, UTC):%H:%M:%S}, pays {one.payout})"
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
            f"{sent:%Y-%m-%d %H:%M:%S}",
            Text(f"{state}: {reason}", style="yellow" if order.doubt else ""),
            "\n".join(candidates) or "-",
        )
    return table
