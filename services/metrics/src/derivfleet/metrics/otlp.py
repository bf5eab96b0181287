"""A span as it comes in over OTLP, checked and in plain values."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1 import trace_pb2

from derivfleet.common.logs import redact
from derivfleet.common.spans import Attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["MalformedSpanError", "Received", "SpanRecord", "count_spans", "received_spans"]

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_MAX_NS = 2**63 - 1
"""The largest instant that SQLite holds; OTLP's are unsigned."""
_MAX_TEXT = 256
_MAX_ATTRIBUTES_TEXT = 16_384

Scalar = str | int | float | bool

_KEPT_APART = frozenset(
    {
        Attribute.ACCOUNT,
        Attribute.BOT,
        Attribute.ORDER_ID,
        Attribute.CALL,
        Attribute.BUCKET,
        Attribute.STATE,
        Attribute.ERROR_CODE,
        Attribute.RATE_REFUSED,
    }
)


class MalformedSpanError(ValueError):
    """A span that cannot be kept; the text says why."""


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span. Ids are hex digits; the attributes that reports ask for stand apart, the rest is one JSON object."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    account: str
    bot: str
    order_id: str
    call: str
    bucket: str
    state: str
    error_code: str
    rate_refused: bool
    attributes: str


@dataclass(frozen=True, slots=True)
class Received:
    """What one export brought: the spans that can be kept, and how many could not, by reason."""

    spans: tuple[SpanRecord, ...]
    refused: Mapping[str, int]

    @property
    def refused_count(self) -> int:
        return sum(self.refused.values())

    def refusal(self) -> str:
        """One line for the sender; empty if nothing was refused."""
        return "; ".join(f"{count} x {reason}" for reason, count in sorted(self.refused.items()))


def count_spans(request: ExportTraceServiceRequest) -> int:
    """How many spans an export brings, good or not."""
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def received_spans(request: ExportTraceServiceRequest) -> Received:
    """Read an export. A malformed span is refused alone; its neighbours are kept."""
    spans: list[SpanRecord] = []
    refused: Counter[str] = Counter()
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                try:
                    spans.append(_record_of(span, str(service)[:_MAX_TEXT]))
                except MalformedSpanError as error:
                    refused[str(error)] += 1
    return Received(tuple(spans), refused)


def _record_of(span: trace_pb2.Span, service: str) -> SpanRecord:
    _check_ids(span)
    if not span.name or len(span.name) > _MAX_TEXT:
        raise MalformedSpanError(f"name is empty or longer than {_MAX_TEXT} characters")
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano <= _MAX_NS:
        raise MalformedSpanError("start and end are not two instants in order")
    attributes = _attributes(span.attributes)
    rest = json.dumps(_redacted_rest(attributes), sort_keys=True)
    if len(rest) > _MAX_ATTRIBUTES_TEXT:
        raise MalformedSpanError(f"attributes are longer than {_MAX_ATTRIBUTES_TEXT} characters")
    refused = attributes.get(Attribute.RATE_REFUSED, False)
    if not isinstance(refused, bool):
        raise MalformedSpanError(f"{Attribute.RATE_REFUSED} is not a boolean")
    code = _text(attributes, Attribute.ERROR_CODE)
    if not code and span.status.code == trace_pb2.Status.STATUS_CODE_ERROR:
        code = "UNSPECIFIED"
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        account=_text(attributes, Attribute.ACCOUNT),
        bot=_text(attributes, Attribute.BOT),
        order_id=_text(attributes, Attribute.ORDER_ID),
        call=_text(attributes, Attribute.CALL),
        bucket=_text(attributes, Attribute.BUCKET),
        state=_text(attributes, Attribute.STATE),
        error_code=code,
        rate_refused=refused,
        attributes=rest,
    )


def _check_ids(span: trace_pb2.Span) -> None:
    """Ids as OTLP's trace.proto asks for them: of fixed length, not all zero; the parent's may be absent."""
    if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
        raise MalformedSpanError(f"trace id is not {_TRACE_ID_BYTES} bytes that are not all zero")
    if len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
        raise MalformedSpanError(f"span id is not {_SPAN_ID_BYTES} bytes that are not all zero")
    if len(span.parent_span_id) not in (0, _SPAN_ID_BYTES):
        raise MalformedSpanError(f"parent span id is not {_SPAN_ID_BYTES} bytes")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Scalar]:
    return {pair.key: _scalar(pair.value) for pair in pairs}


def _scalar(value: AnyValue) -> Scalar:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            number = value.double_value
            # JSON has no word for infinity or NaN.
            return number if abs(number) < float("inf") else str(number)
        case _:
            # Our spans carry scalars only; a stranger's list or map is kept as text for people.
            return str(value).strip()


def _redacted_rest(attributes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    # Our senders redact already; this is for strangers' spans, which nobody has looked at.
    return {
        key: redact(value) if isinstance(value, str) else value
        for key, value in attributes.items()
        if key not in _KEPT_APART
    }


def _text(attributes: Mapping[str, Scalar], name: Attribute) -> str:
    value = attributes.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise MalformedSpanError(f"{name} is not a text of at most {_MAX_TEXT} characters")
    return value
