"""Requests on the wire: written for sending, read and validated on arrival."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from derivfleet.deriv.categories.registry import find
from derivfleet.deriv.dialects.numbers import Frame, json_number
from derivfleet.deriv.errors import InputValidationFailed, UnrecognisedRequest
from derivfleet.deriv.pricing import MONEY_DECIMALS
from derivfleet.deriv.requests import REQUESTS, ContractParameters, Request
from derivfleet.deriv.vocabulary import OTHER_CONTRACT_TYPES, Call, StreamType

if TYPE_CHECKING:
    from derivfleet.deriv.dialects.naming import Naming

__all__ = ["call_of", "decode_request", "encode_request"]

CANONICAL_SYMBOL = "underlying_symbol"
_MONEY_FIELDS = ("price", "amount")
_CALLS = {str(call): call for call in Call}


def _plain(value: object) -> object:
    """A value of a request model as JSON has it."""
    match value:
        case Decimal():
            return json_number(value)
        case str():
            return str(value)
        case dict():
            return {key: _plain(item) for key, item in cast("Frame", value).items()}
        case list():
            return [_plain(item) for item in cast("list[object]", value)]
        case _:
            return value


def _check_money(fields: Frame) -> None:
    for name in _MONEY_FIELDS:
        amount = fields.get(name)
        if isinstance(amount, Decimal) and amount != round(amount, MONEY_DECIMALS):
            raise ValueError(f"{name} {amount} has more than {MONEY_DECIMALS} decimals")


def encode_request(naming: Naming, request: Request, req_id: int) -> Frame:
    """A frame ready for json.dumps.

    Raises ValueError if the dialect lacks the call or a field that is set, or if money has more than two decimals:
    Deriv would refuse it, and rounding is the caller's decision.
    """
    call = request.call
    if call in naming.absent_calls:
        raise ValueError(f"{naming.dialect} has no {call}")
    fields = request.model_dump(exclude_none=True)
    nested = cast("Frame", fields.get("parameters", {}))
    refused = naming.absent_fields.get(call, frozenset()) & (fields.keys() | nested.keys())
    if refused:
        raise ValueError(f"{call} has no {', '.join(sorted(refused))} in {naming.dialect}")
    _check_money(fields)
    _check_money(nested)
    if call is Call.CONTRACT_UPDATE:
        # Here null means "remove", so what was set to None must be sent.
        fields["limit_order"] = request.model_dump(exclude_unset=True)["limit_order"]
    for place in (fields, nested):
        if CANONICAL_SYMBOL in place:
            place[naming.request_symbol] = place.pop(CANONICAL_SYMBOL)
    frame = cast("Frame", _plain({str(call): fields.pop(str(call)), **fields}))
    frame["req_id"] = req_id
    return frame


def call_of(naming: Naming, frame: Frame) -> Call:
    """The call that a frame names. UnrecognisedRequest if it names none, several, or one that the dialect lacks."""
    named = [call for key, call in _CALLS.items() if key in frame]
    if len(named) != 1 or named[0] in naming.absent_calls:
        raise UnrecognisedRequest
    return named[0]


def decode_request(naming: Naming, frame: Frame) -> Request:
    """The request in a frame, validated.

    Raises UnrecognisedRequest, or InputValidationFailed with a text per offending field.
    """
    call = call_of(naming, frame)
    fields = dict(frame)
    _take_meta(call, fields)
    if call in (Call.BUY, Call.PROPOSAL):
        _rename_symbol(naming, call, fields)
        nested = fields.get("parameters")
        if isinstance(nested, dict):
            fields["parameters"] = parameters = dict(cast("Frame", nested))
            _rename_symbol(naming, call, parameters)
            _refuse_absent(naming, call, parameters)
    _refuse_absent(naming, call, fields)
    try:
        request = REQUESTS[call].model_validate(fields)
    except ValidationError as error:
        raise InputValidationFailed(call, _details(naming, error)) from None
    _check_dialect(naming, request)
    return request


def _take_meta(call: Call, fields: Frame) -> None:
    req_id = fields.pop("req_id", None)
    if req_id is not None and (not isinstance(req_id, int) or isinstance(req_id, bool)):
        raise InputValidationFailed(call, {"req_id": "Expected integer - got another type."})
    passthrough = fields.pop("passthrough", {})
    if not isinstance(passthrough, dict):
        raise InputValidationFailed(call, {"passthrough": "Expected object - got another type."})


def _rename_symbol(naming: Naming, call: Call, fields: Frame) -> None:
    if naming.request_symbol == CANONICAL_SYMBOL:
        return
    if CANONICAL_SYMBOL in fields:
        raise InputValidationFailed(call, {CANONICAL_SYMBOL: f"Properties not allowed: {CANONICAL_SYMBOL}."})
    if naming.request_symbol in fields:
        fields[CANONICAL_SYMBOL] = fields.pop(naming.request_symbol)


def _refuse_absent(naming: Naming, call: Call, fields: Frame) -> None:
    refused = sorted(naming.absent_fields.get(call, frozenset()) & fields.keys())
    nulls = [key for key, value in fields.items() if value is None]  # in a model None means absent, on the wire null
    if refused:
        raise InputValidationFailed(call, {name: f"Properties not allowed: {name}." for name in refused})
    if nulls:
        raise InputValidationFailed(call, dict.fromkeys(nulls, "Unexpected null."))


def _details(naming: Naming, error: ValidationError) -> dict[str, str]:
    details: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = [str(part) for part in problem["loc"]]
        if path[:1] == ["parameters"] and len(path) > 1:
            del path[0]
        name = path[0] if path else "(all)"
        if name == CANONICAL_SYMBOL:
            name = naming.request_symbol
        if problem["type"] == "extra_forbidden":
            details[name] = f"Properties not allowed: {path[-1]}."
        elif problem["type"] == "missing":
            details[name] = "Missing property."
        else:
            details.setdefault(name, f"{problem['msg']}.")
    return details


def _contract_types(request: Request) -> list[str]:
    parameters = getattr(request, "parameters", None) or request
    named: Any = getattr(parameters, "contract_type", None)
    if named is None:
        return []
    return [named] if isinstance(parameters, ContractParameters) else list(named)


def _check_dialect(naming: Naming, request: Request) -> None:
    """What the models leave open because the dialects differ in it."""
    known = OTHER_CONTRACT_TYPES[naming.dialect]
    for name in _contract_types(request):
        if name not in known and find(name) is None:
            raise InputValidationFailed(request.call, {"contract_type": f"Not in enum list: {name}."})
    action = getattr(request, "action_type", None)
    if action is not None and action not in naming.statement_actions:
        raise InputValidationFailed(request.call, {"action_type": f"Not in enum list: {action}."})
    streams: Any = getattr(request, "forget_all", None)
    if streams is not None and not naming.has_app_id:
        named = [streams] if isinstance(streams, str) else streams
        if StreamType.WEBSITE_STATUS in named:
            raise InputValidationFailed(request.call, {"forget_all": "Not in enum list: website_status."})
