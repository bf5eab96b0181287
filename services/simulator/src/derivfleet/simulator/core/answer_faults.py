"""What a fault does to the answers of a call that has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.answers import ErrorAnswer
from derivfleet.deriv.dialects import from_json, to_json
from derivfleet.simulator.core.effects import Close, Effect, Freeze, Send
from derivfleet.simulator.core.faults import FaultKind, FaultRule

if TYPE_CHECKING:
    from derivfleet.simulator.core.request_context import RequestContext

__all__ = ["drop", "faulted"]

_GOING_AWAY_CODE = 1001
_META = ("msg_type", "echo_req", "req_id")


def drop(number: int, fault: FaultRule, *, drained: bool = False) -> Close:
    """The end of a socket by a fault."""
    return Close(number, _GOING_AWAY_CODE, "dropped by a fault", abrupt=fault.abrupt, drained=drained)


def faulted(context: RequestContext, texts: list[str], fault: FaultRule | None) -> list[Effect]:
    """Answers first, then what other streams hear; with what the fault does to the answers."""
    connection = context.connection
    number, held, delay_s = connection.number, connection.held, 0.0
    if fault is not None:
        texts = _changed(context, texts, fault)
        answers = [Send(number, text) for text in texts]
        others = [push for push in context.pushes if push.connection != number]
        match fault.kind:
            case FaultKind.DROP_AFTER:
                return [*others, drop(number, fault)]
            case FaultKind.DROP_ANSWERED:
                return [*answers, *context.pushes, drop(number, fault, drained=True)]
            case FaultKind.HALF_OPEN:
                connection.frozen = True
                return [*others, Freeze(number)]
            case FaultKind.REORDER:
                held.extend(answers)
                return [*context.pushes]
            case FaultKind.SLOW:
                connection.slow_s = fault.delay_s
            case FaultKind.DELAY:
                delay_s = fault.delay_s
            case _:
                pass
    connection.held = []
    return [*(Send(number, text, delay_s) for text in texts), *held, *context.pushes]


def _changed(context: RequestContext, texts: list[str], fault: FaultRule) -> list[str]:
    match fault.kind:
        case FaultKind.DUPLICATE:
            return texts * 2
        case FaultKind.GARBAGE:
            return ["}not JSON{"]
        case FaultKind.BARE:
            return [_bare(text) for text in texts]
        case FaultKind.ERROR_AFTER:
            call, error = context.codec.call_of(context.echo), ErrorAnswer(fault.code, "An error by a fault.")
            return [to_json(context.codec.complete(context.codec.encode_error(call, error), context.echo))]
        case _:
            return texts


def _bare(text: str) -> str:
    """An answer without what belongs to every answer."""
    return to_json({key: value for key, value in from_json(text).items() if key not in _META})
