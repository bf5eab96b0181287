"""Why the desk takes no order, or sells none."""

from __future__ import annotations

__all__ = ["DeskClosedError", "DifferentOrderError", "LeaseLostError", "SellRefusedError"]


class DifferentOrderError(Exception):
    """The order id is taken by an order that differs in ``field``."""

    def __init__(self, order_id: str, field: str) -> None:
        super().__init__(f"order {order_id} exists with another {field}: an order id belongs to one order only")
        self.field = field


class DeskClosedError(Exception):
    """The gateway is ending: no new orders are taken. Nothing was written down."""


class LeaseLostError(Exception):
    """The replica that asks does not hold the symbol (any more)."""

    def __init__(self, order_id: str, symbol: str) -> None:
        super().__init__(f"order {order_id}: the lease on {symbol} is not (or no longer) this replica's")


class SellRefusedError(Exception):
    """Deriv, or the order's state, does not allow the sale."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
