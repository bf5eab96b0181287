"""What an operator says of an order whose fate the account's records leave open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import structlog

from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.status import Problem, ProblemError
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.rpc import errors, messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.common.rpc.identity import Identity
    from derivfleet.gateway.account.account import AccountRoom
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.v1 import control_pb2

__all__ = ["resolve"]

_log = structlog.get_logger()


async def resolve(rooms: Mapping[str, AccountRoom], request: control_pb2.ResolveOrderRequest, who: Identity) -> Order:
    """Take an operator's word for what became of an order, if it can be. Raises ProblemError."""
    if who.role is not Role.OPERATOR:
        code = grpc.StatusCode.PERMISSION_DENIED
        raise ProblemError(Problem(code, "OPERATOR_NEEDED", f"{who.name} is no operator: only one may resolve orders"))
    order_id = messages.check_order_id(request.order_id)
    if request.contract_id < 0:
        raise messages.invalid("contract_id", "must not be negative")
    room = _room(rooms, request.account)
    order = room.orders.registry.find(order_id)
    if order is None:
        code = grpc.StatusCode.NOT_FOUND
        raise ProblemError(Problem(code, "ORDER_UNKNOWN", f"account {room.key} has no order {order_id}"))
    try:
        order = await room.orders.resolve(order, request.contract_id, who.name)
    except DeniedError as error:
        raise ProblemError(errors.denied(error.denial, room.orders.client.clock)) from None
    except CallRefusedError as error:
        message = f"Deriv does not show contract {request.contract_id}: {error.code}: {error.message}"
        problem = Problem(grpc.StatusCode.FAILED_PRECONDITION, error.code, message, field="contract_id")
        raise ProblemError(problem) from None
    except (AnswerLostError, MalformedAnswer, JournalError) as error:
        message = f"order {order_id} was not resolved: {error}"
        problem = Problem(grpc.StatusCode.UNAVAILABLE, "NOT_RESOLVED", message, retry_after_s=2.0)
        raise ProblemError(problem) from None
    _log.warning("order resolved by hand", order_id=order_id, state=order.state, by=who.name)
    return order


def _room(rooms: Mapping[str, AccountRoom], account: str) -> AccountRoom:
    if account:
        return rooms[account]
    if len(rooms) > 1:
        raise messages.invalid("account", f"say which: {', '.join(rooms)}")
    return next(iter(rooms.values()))
