"""Why the desk takes no order, or sells none."""

from __future__ import annotations

__all__ = [
    "DerivSickError",
    "DeskClosedError",
    "DifferentOrderError",
    "ExitRefusedError",
    "LeaseLostError",
    "OrderDoubtfulError",
    "ResolveRefusedError",
]


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


class OrderDoubtfulError(Exception):
    """The bot has an order just like this one of which nobody knows whether it was bought."""

    def __init__(self, order_id: str, doubtful: str) -> None:
        super().__init__(
            f"order {order_id} was not taken: {doubtful} is just like it, and nobody can tell whether that was bought; "
            f"an operator decides with `derivfleet orders resolve {doubtful}`"
        )
        self.doubtful = doubtful


class ExitRefusedError(Exception):
    """The order's state does not allow the exit. Nothing was written down."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ResolveRefusedError(Exception):
    """What an operator says of an order cannot be. ``field`` is what it shows in."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field
