"""What callers are told when a call fails: each foreseen failure as a status with its details."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.status import Problem
from derivfleet.deriv.errors import Outcome, outcome_of
from derivfleet.gateway.upstream.client import NotConnectedError, TurnRefusedError
from derivfleet.gateway.upstream.pool import StreamsFullError

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import CallRefusedError
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.orders.denials import OrderDoubtfulError
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.journal.store import JournalError

__all__ = [
    "denied",
    "fell_behind",
    "journal_not_read",
    "lease_lost",
    "no_contract",
    "order_doubtful",
    "order_refused",
    "refused",
    "turn_refused",
]


def denied(order: Order, account: str, refused_wait_ns: int | None, clock: Clock) -> Problem:
    """The gateway did not send the order; ``refused_wait_ns`` is how far its turn was away, if that was the reason."""
    metadata = {"order_id": order.order_id, "final": "true"}
    if order.error_code == "LEASE_LOST":
        return replace(lease_lost(order.error_message), metadata=metadata)
    is_limit = order.error_code == "LIMIT_REACHED"
    return Problem(
        grpc.StatusCode.RESOURCE_EXHAUSTED if is_limit else grpc.StatusCode.ABORTED,
        order.error_code,
        f"order {order.order_id} was not sent: {order.error_message}",
        limit=account if is_limit else "",
        retry_after_s=None if refused_wait_ns is None else clock.wall_s(refused_wait_ns / 1e9),
        metadata=metadata,
    )


def order_refused(order_id: str, error: TurnRefusedError, clock: Clock) -> Problem:
    """The order could not be sent before its deadline, so it is none: the id is still free."""
    problem = turn_refused(error, clock)
    message = f"order {order_id} was not taken: {problem.message}"
    return replace(problem, message=message, metadata={"order_id": order_id})


def order_doubtful(order_id: str, error: OrderDoubtfulError) -> Problem:
    """The bot has one like it that only an operator can tell about; the id is still free."""
    metadata = {"order_id": order_id, "doubtful": error.doubtful}
    return Problem(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_DOUBTFUL", str(error), metadata=metadata)


def turn_refused(error: TurnRefusedError, clock: Clock) -> Problem:
    """A call that is no purchase could not start before its deadline."""
    if isinstance(error, NotConnectedError):
        return Problem(grpc.StatusCode.UNAVAILABLE, "NOT_CONNECTED", str(error), retry_after_s=1.0)
    return Problem(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "LIMIT_REACHED",
        str(error),
        limit=error.refusal.binding,
        retry_after_s=clock.wall_s(error.refusal.wait_ns / 1e9),
    )


def refused(call: Call, error: CallRefusedError) -> Problem:
    """Deriv's refusal of a read, or ours of a stream for which no socket has room."""
    if isinstance(error, StreamsFullError):
        return Problem(
            grpc.StatusCode.RESOURCE_EXHAUSTED, error.code, error.message, limit="streams", retry_after_s=30.0
        )
    later = outcome_of(call, error.code, error.message) is Outcome.LATER
    return Problem(
        grpc.StatusCode.UNAVAILABLE if later else grpc.StatusCode.INVALID_ARGUMENT,
        error.code,
        f"Deriv refused {call}: {error.code}: {error.message}",
        field="" if later else "symbol" if "Symbol" in error.code else "request",
        retry_after_s=2.0 if later else None,
    )


def lease_lost(message: str) -> Problem:
    """The replica that asks does not hold the symbol."""
    return Problem(grpc.StatusCode.FAILED_PRECONDITION, "LEASE_LOST", message)


def no_contract(order: Order) -> Problem:
    """There is nothing at Deriv to look at."""
    message = f"order {order.order_id} is {order.state}: it has no contract to look at"
    return Problem(grpc.StatusCode.FAILED_PRECONDITION, "NO_CONTRACT", message)


def journal_not_read(error: JournalError) -> Problem:
    """The journal's database is away, and what was asked is not in memory."""
    return Problem(grpc.StatusCode.UNAVAILABLE, "JOURNAL_NOT_READ", str(error), retry_after_s=2.0)


def fell_behind() -> Problem:
    """A stream's reader does not read."""
    message = "the stream was not read fast enough and was ended: open it again"
    return Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAM_NOT_READ", message, retry_after_s=0.0)
