"""Exits over gRPC: what a caller wants done to a contract, checked, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.status import Problem, ProblemError
from derivfleet.gateway.core.orders.denials import DeskClosedError, DifferentOrderError, ExitRefusedError
from derivfleet.gateway.core.orders.exit import Exit, ExitKind, ExitState, ExitTerms
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.rpc import messages

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.rpc.visits import Visit
    from derivfleet.v1 import trading_pb2

__all__ = ["carry_out", "sale_of", "update_of"]


def sale_of(request: trading_pb2.SellRequest) -> ExitTerms:
    """What a sale is to be. Raises ProblemError."""
    min_price = messages.amount_of("min_price", request.min_price or "0")
    if min_price < 0:
        raise messages.invalid("min_price", "must not be negative")
    return ExitTerms(ExitKind.SELL, min_price)


def update_of(request: trading_pb2.UpdateContractRequest) -> ExitTerms:
    """Which limit orders are to be changed. Raises ProblemError."""
    wanted = {name: getattr(request, name) for name in ("take_profit", "stop_loss") if request.HasField(name)}
    if not wanted:
        raise messages.invalid("take_profit", "name it, or stop_loss, or both")
    limits = {name: messages.amount_of(name, text) if text else None for name, text in wanted.items()}
    for name, amount in limits.items():
        if amount is not None and amount <= 0:
            raise messages.invalid(name, "must be above 0, or empty to remove it")
    return ExitTerms(ExitKind.UPDATE, limits=tuple(limits.items()))


async def carry_out(visit: Visit, order: Order, exit_id: str, terms: ExitTerms) -> tuple[Order, Exit]:
    """Do it, once. Raises ProblemError where it was not done for certain, and TurnRefusedError."""
    if exit_id:
        messages.check_id("exit_id", exit_id)
    try:
        order, done = await visit.room.desk.exits.carry_out(
            order, exit_id, terms, visit.deadline_ns, visit.span.traceparent
        )
    except ExitRefusedError as error:
        raise ProblemError(Problem(grpc.StatusCode.FAILED_PRECONDITION, error.code, str(error))) from None
    except DifferentOrderError as error:
        code = grpc.StatusCode.FAILED_PRECONDITION
        raise ProblemError(Problem(code, "EXIT_DIFFERS", str(error), field=error.field)) from None
    except (DeskClosedError, JournalError) as error:
        reason = "GATEWAY_ENDING" if isinstance(error, DeskClosedError) else "JOURNAL_NOT_WRITTEN"
        problem = Problem(grpc.StatusCode.UNAVAILABLE, reason, str(error), retry_after_s=2.0)
        raise ProblemError(problem) from None
    metadata = {"order_id": order.order_id, "exit_id": done.exit_id, "final": "true"}
    if done.state is ExitState.REJECTED:
        code = grpc.StatusCode.FAILED_PRECONDITION
        raise ProblemError(Problem(code, done.error_code, done.error_message, metadata=metadata))
    if done.state is ExitState.DENIED:
        is_limit = done.error_code == "LIMIT_REACHED"
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if is_limit else grpc.StatusCode.ABORTED
        message = f"exit {done.exit_id} of order {order.order_id} was not sent: {done.error_message}"
        limit = visit.room.key if is_limit else ""
        raise ProblemError(Problem(code, done.error_code, message, limit=limit, metadata=metadata))
    return order, done
