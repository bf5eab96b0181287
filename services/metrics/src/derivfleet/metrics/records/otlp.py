"""Spans as they come in over OTLP: checked, and read twice, quickly for figures and wholly for people."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from derivfleet.common.redaction import is_suspect, redact
from derivfleet.common.spans import Attribute
from derivfleet.metrics.records.span import SpanRecord, SpanRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = [
    "MalformedSpanError",
    "Received",
    "count_spans",
    "received_rows",
    "records_of",
    "rows_of",
    "without",
]

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NO_TRACE_ID = bytes(_TRACE_ID_BYTES)
_NO_SPAN_ID = bytes(_SPAN_ID_BYTES)
_MAX_NS = 2**63 - 1
"""The largest instant that SQLite holds; OTLP's are unsigned."""
_MAX_TEXT = 256
_MAX_SPAN_BYTES = 16_384
_MAX_WEIGHT = 1_000_000
_THRESHOLD = re.compile(r"(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})(?:[;,]|$)")
"""OpenTelemetry's rejection threshold: what part of 2**56 a consistent sampler dropped, trailing zeros left out."""

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
# Plain strings: a lookup by a StrEnum's member costs more, and there are nine for each span.
_ACCOUNT, _BOT, _ORDER_ID = str(Attribute.ACCOUNT), str(Attribute.BOT), str(Attribute.ORDER_ID)
_CALL, _BUCKET, _STATE = str(Attribute.CALL), str(Attribute.BUCKET), str(Attribute.STATE)
_ERROR_CODE, _RATE_REFUSED = str(Attribute.ERROR_CODE), str(Attribute.RATE_REFUSED)
_STAKE, _PROFIT = str(Attribute.STAKE), str(Attribute.PROFIT)
_TEXTS = (_ACCOUNT, _BOT, _ORDER_ID, _CALL, _BUCKET, _STATE, _ERROR_CODE, _STAKE, _PROFIT)


class MalformedSpanError(ValueError):
    """A span that cannot be kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one export brought: the spans that can be kept, the same as OTLP, and how many could not be, by reason."""

    rows: tuple[SpanRow, ...]
    body: bytes
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


def received_rows(
    raw: bytes, request: ExportTraceServiceRequest, oldest_ns: int = 0, newest_ns: int = _MAX_NS
) -> Received:
    """Read an export, of which ``raw`` is the serialized form. A malformed span is refused alone.

    So is one that ended before ``oldest_ns``, whose like may have been forgotten already, or after ``newest_ns``, where
    no clock can be. Texts that look like secrets are masked before anything is kept.
    """
    if is_suspect(raw):
        _mask(request)
        raw = request.SerializeToString()
    rows: list[SpanRow] = []
    refused: Counter[str] = Counter()
    bad: set[int] = set()
    large = len(raw) > _MAX_SPAN_BYTES
    for number, span in enumerate(_spans(request)):
        try:
            row = _row_of(span, _MAX_SPAN_BYTES if large else 0)
        except MalformedSpanError as error:
            refused[str(error)] += 1
            bad.add(number)
            continue
        if oldest_ns <= row.end_ns <= newest_ns:
            rows.append(row)
        else:
            refused[_untimely(row.end_ns < oldest_ns)] += 1
            bad.add(number)
    return Received(tuple(rows), without(request, bad).SerializeToString() if bad else raw, refused)


def _untimely(is_old: bool) -> str:
    return "ended longer ago than spans are kept" if is_old else "ends more than a day from now: whose clock is that"


def _spans(request: ExportTraceServiceRequest) -> Iterator[trace_pb2.Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def without(request: ExportTraceServiceRequest, numbers: set[int]) -> ExportTraceServiceRequest:
    """The export without the spans at these places, counted from 0 through the whole of it."""
    kept = ExportTraceServiceRequest()
    kept.CopyFrom(request)
    number = 0
    for resource in kept.resource_spans:
        for scope in resource.scope_spans:
            last = number + len(scope.spans)
            for one in sorted((one for one in numbers if number <= one < last), reverse=True):
                del scope.spans[one - number]
            number = last
    return kept


def rows_of(body: bytes) -> list[SpanRow]:
    """The spans of a kept batch, once more."""
    return [_row_of(span) for span in _spans(ExportTraceServiceRequest.FromString(body))]


def _row_of(span: trace_pb2.Span, most_bytes: int = 0) -> SpanRow:
    if most_bytes and span.ByteSize() > most_bytes:
        raise MalformedSpanError(f"span is larger than {most_bytes} bytes")
    trace_id, span_id, parent_id, name = span.trace_id, span.span_id, span.parent_span_id, span.name
    _check_ids(trace_id, span_id, parent_id)
    if not name or len(name) > _MAX_TEXT:
        raise MalformedSpanError(f"name is empty or longer than {_MAX_TEXT} characters")
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    if not 0 < start_ns <= end_ns <= _MAX_NS:
        raise MalformedSpanError("start and end are not two instants in order")
    attributes = {pair.key: pair.value for pair in span.attributes}
    account, bot, order_id, call, bucket, state, code, stake, profit = [
        _text(attributes[key], key) if key in attributes else "" for key in _TEXTS
    ]
    refused = False
    if _RATE_REFUSED in attributes:
        value = attributes[_RATE_REFUSED]
        if value.WhichOneof("value") != "bool_value":
            raise MalformedSpanError(f"{_RATE_REFUSED} is not a boolean")
        refused = value.bool_value
    if not code and span.status.code == trace_pb2.Status.STATUS_CODE_ERROR:
        code = "UNSPECIFIED"
    state_text = span.trace_state
    tail = trace_id[_SPAN_ID_BYTES:]
    return SpanRow(
        name,
        account,
        bot,
        order_id,
        call,
        bucket,
        state,
        code,
        refused,
        start_ns,
        end_ns,
        _weight(state_text) if state_text else 1,
        tail + span_id,
        tail + parent_id if parent_id else b"",
        stake,
        profit,
    )


def _text(value: AnyValue, key: str) -> str:
    text = value.string_value
    if (not text and value.WhichOneof("value") != "string_value") or len(text) > _MAX_TEXT:
        raise MalformedSpanError(f"{key} is not a text of at most {_MAX_TEXT} characters")
    return text


def _check_ids(trace_id: bytes, span_id: bytes, parent_id: bytes) -> None:
    """Ids as OTLP's trace.proto asks for them: of fixed length, not all zero; the parent's may be absent."""
    if len(trace_id) != _TRACE_ID_BYTES or trace_id == _NO_TRACE_ID:
        raise MalformedSpanError(f"trace id is not {_TRACE_ID_BYTES} bytes that are not all zero")
    if len(span_id) != _SPAN_ID_BYTES or span_id == _NO_SPAN_ID:
        raise MalformedSpanError(f"span id is not {_SPAN_ID_BYTES} bytes that are not all zero")
    if parent_id and len(parent_id) != _SPAN_ID_BYTES:
        raise MalformedSpanError(f"parent span id is not {_SPAN_ID_BYTES} bytes")


def _weight(trace_state: str) -> int:
    """How many spans one stands for whose sender samples: the adjusted count of OpenTelemetry's tracestate, rounded."""
    match = _THRESHOLD.search(trace_state)
    kept = 2**56 - int(match[1].ljust(14, "0"), 16) if match else 2**56
    return max(1, min(_MAX_WEIGHT, round(2**56 / kept)))


def _mask(request: ExportTraceServiceRequest) -> None:
    """Mask what looks like a secret. Our senders did so already; this is for spans that nobody has looked at."""
    for span in _spans(request):
        span.name = redact(span.name)
        span.status.message = redact(span.status.message)
        del span.links[:]
        for event in span.events:
            event.name = redact(event.name)
        for pairs in (span.attributes, *(event.attributes for event in span.events)):
            for pair in pairs:
                if pair.value.WhichOneof("value") == "string_value":
                    pair.value.string_value = redact(pair.value.string_value)
                elif pair.value.WhichOneof("value") in ("array_value", "kvlist_value", "bytes_value"):
                    pair.value.string_value = redact(str(pair.value).strip())


def records_of(body: bytes) -> Iterator[SpanRecord]:
    """The spans of a kept batch, with everything they say."""
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))[:_MAX_TEXT]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _record_of(span, service)


def _record_of(span: trace_pb2.Span, service: str) -> SpanRecord:
    row = _row_of(span)
    rest = {key: value for key, value in _attributes(span.attributes).items() if key not in _KEPT_APART}
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=row.name,
        service=service,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        account=row.account,
        bot=row.bot,
        order_id=row.order_id,
        call=row.call,
        bucket=row.bucket,
        state=row.state,
        error_code=row.error_code,
        rate_refused=row.rate_refused,
        attributes=json.dumps(rest, sort_keys=True),
    )


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
