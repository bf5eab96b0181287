"""What callers are told when a call fails: each foreseen failure as a status with its details."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.status import Problem
from derivfleet.deriv.errors import Outcome, outcome_of
from derivfleet.gateway.core.orders.denials import (
    ContractDiffers,
    ContractTaken,
    ContractUnknown,
    Denial,
    DerivSick,
    ExitDiffers,
    ExitNotDecided,
    GatewayEnding,
    JournalNotWritten,
    LeaseLost,
    LimitReached,
    NotConnected,
    OrderDiffers,
    OrderDoubtful,
    OrderNotOpen,
)
from derivfleet.gateway.upstream.pool import StreamsFullError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import CallRefusedError
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.journal.store import JournalError

__all__ = ["denied", "fell_behind", "journal_not_read", "no_contract", "not_sent", "refused"]

STATUS: Mapping[type[Denial], grpc.StatusCode] = {
    GatewayEnding: grpc.StatusCode.UNAVAILABLE,
    JournalNotWritten: grpc.StatusCode.UNAVAILABLE,
    NotConnected: grpc.StatusCode.UNAVAILABLE,
    DerivSick: grpc.StatusCode.UNAVAILABLE,
    LimitReached: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LeaseLost: grpc.StatusCode.FAILED_PRECONDITION,
    OrderDoubtful: grpc.StatusCode.FAILED_PRECONDITION,
    OrderDiffers: grpc.StatusCode.FAILED_PRECONDITION,
    OrderNotOpen: grpc.StatusCode.FAILED_PRECONDITION,
    ExitDiffers: grpc.StatusCode.FAILED_PRECONDITION,
    ExitNotDecided: grpc.StatusCode.FAILED_PRECONDITION,
    ContractUnknown: grpc.StatusCode.FAILED_PRECONDITION,
    ContractTaken: grpc.StatusCode.FAILED_PRECONDITION,
    ContractDiffers: grpc.StatusCode.FAILED_PRECONDITION,
}
"""UNAVAILABLE: the same call may go through soon."""
RETRY_S: Mapping[type[Denial], float] = {GatewayEnding: 2.0, JournalNotWritten: 2.0, NotConnected: 1.0}
"""Wall seconds, where the denial itself does not say when."""
FINAL_STATUS = {LimitReached.code: STATUS[LimitReached], LeaseLost.code: STATUS[LeaseLost]}
"""Of operations that were written down and not sent; all others are ABORTED."""


def denied(denial: Denial, clock: Clock, what: str = "", about: Mapping[str, str] | None = None) -> Problem:
    """It was not taken: nothing was written down, and an id is still free. ``about`` names what it is about."""
    text, binding = str(denial), denial.binding if isinstance(denial, LimitReached) else ""
    is_term = isinstance(denial, OrderDiffers) and denial.field != "bot"
    return Problem(
        STATUS[type(denial)],
        denial.code,
        text if denial.is_whole or not what else f"{what} was not taken: {text}",
        field=f"terms.{denial.field}" if is_term else denial.field,
        limit=binding,
        retry_after_s=clock.wall_s(denial.wait_s) if binding else RETRY_S.get(type(denial)),
        metadata={**(about or {}), **({"doubtful": denial.doubtful} if isinstance(denial, OrderDoubtful) else {})},
    )


def not_sent(
    what: str, code: str, message: str, account: str, about: Mapping[str, str], retry_after_s: float | None = None
) -> Problem:
    """The gateway wrote it down and did not send it: its id is used up."""
    return Problem(
        FINAL_STATUS.get(code, grpc.StatusCode.ABORTED),
        code,
        f"{what} was not sent: {message}",
        limit=account if code == LimitReached.code else "",
        retry_after_s=retry_after_s,
        metadata={**about, "final": "true"},
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
