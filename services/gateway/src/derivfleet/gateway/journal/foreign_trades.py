"""What is written down of trades that are not the fleet's: whoever starts anew must not take them for an order's."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade

if TYPE_CHECKING:
    from derivfleet.gateway.journal.store import Step, Store

__all__ = ["noting", "trades"]

KEPT_S = 24 * 3600
"""An order is decided by then, or waits for a person."""


def noting(account: str, trade: ForeignTrade) -> list[Step]:
    """The statements that write a trade down, and forget the old ones."""
    price = "" if trade.price is None else str(trade.price)
    insert = "INSERT INTO foreign_trades (account, contract_id, symbol, price, epoch_s) VALUES (?, ?, ?, ?, ?)"
    row = (account, trade.contract_id, trade.symbol, price, trade.epoch_s)
    return [
        (f"{insert} ON CONFLICT (account, contract_id) DO NOTHING", row),
        ("DELETE FROM foreign_trades WHERE account = ? AND epoch_s < ?", (account, trade.epoch_s - KEPT_S)),
    ]


def trades(store: Store, account: str) -> list[ForeignTrade]:
    """Those written down, oldest first."""
    rows = store.read(
        "SELECT contract_id, symbol, price, epoch_s FROM foreign_trades WHERE account = ?"
        " ORDER BY epoch_s, contract_id",
        (account,),
    )
    return [
        ForeignTrade(contract_id, symbol, Decimal(price) if price else None, epoch_s)
        for contract_id, symbol, price, epoch_s in rows
    ]
