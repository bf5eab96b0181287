"""Why the desk takes no order, or sells none."""

from __future__ import annotations

__all__ = ["DerivSickError", "DeskClosedError", "DifferentOrderError", "LeaseLostError", "SellRefusedError"]


class DifferentOrderError(Exception):
    """The order id is taken by an order that differs in ``field``."""

    def __init__(self, order_id: str, field: str) -> None:
        super().__init__(f"order {order_id} exists with another {field}: an order id belongs to one order only")
        self.field = field


class DeskClosedError(Exception):
    """The gateway is ending: no new orders are taken. Nothing was written down."""


class DerivSickError(Exception):
    """Deriv does not handle orders, so none is opened. Nothing was sent."""

    def __init__(self, wait_ns: int, reason: str) -> None:
        super().__init__(f"Deriv is sick: {reason}; an order is let through again in {wait_ns / 1e9:.1f} s")
        self.wait_ns = wait_ns


class LeaseLostError(Exception):
    """The replica that asks does not hold the symbol (any more)."""

    def __init__(self, order_id: str, symbol: str) -> None:
        super().__init__(f"order {order_id}: the lease on {symbol} is not (or no longer) this replica's")


class SellRefusedError(Exception):
    """Deriv, or the order's state, does not allow the sale."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
