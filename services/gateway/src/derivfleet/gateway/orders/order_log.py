"""What the log says of orders: a line for each step that somebody may look for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.orders.order import State

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order

__all__ = ["log_order"]

_log = structlog.get_logger()
_LEVELS = {
    # On the way; what became of it is said.
    State.INTENDED: "debug",
    State.SENT: "debug",
    State.UNKNOWN: "warning",
    State.DENIED: "warning",
    State.REJECTED: "warning",
}


def log_order(before: Order | None, order: Order) -> None:
    """Log an order's newest state."""
    getattr(_log, _LEVELS.get(order.state, "info"))(
        f"order {order.state}",
        order_id=order.order_id,
        bot=order.bot,
        trace_id=order.trace_id,
        contract_id=order.contract_id or None,
        profit=None if order.profit is None else str(order.profit),
        error_code=order.error_code or None,
        problem=order.error_message or None,
        doubt=order.doubt or None,
        exits={one.exit_id: str(one.state) for one in order.exits} or None,
    )
    if order.found_late and not (before is not None and before.found_late):
        _log.error("an order taken for not bought was bought after all", order_id=order.order_id, bot=order.bot)
