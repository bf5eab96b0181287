"""A recording as much more traffic: every span again and again, with new ids, of other bots, at other times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

__all__ = ["EXPORT_SPANS", "exports", "flat"]

EXPORT_SPANS = 512
"""What a busy exporter of OpenTelemetry sends at once (``max_export_batch_size``)."""
_BOT, _ORDER = "derivfleet.bot", "derivfleet.order_id"


def flat(requests: Iterable[ExportTraceServiceRequest]) -> list[tuple[str, Span]]:
    """(service, span) of a recording, in the order of their ends."""
    found = [
        (resource.resource.attributes[0].value.string_value, span)
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return sorted(found, key=lambda one: one[1].end_time_unix_nano)


def exports(
    spans: Sequence[tuple[str, Span]], count: int, bots: int, first_ns: int, last_ns: int, seed: int
) -> Iterator[bytes]:
    """Serialized exports with ``count`` spans in all, whose ends lie in [first, last).

    Each copy of the recording has its own ids, orders and bots: copies of one bot are told apart by a number.
    """
    draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
    names = {_text(span, _BOT) for _, span in spans} - {"", "gateway"}
    copies_of_bots = max(1, bots // max(1, len(names)))
    copies = -(-count // len(spans))
    step_ns = (last_ns - first_ns) // copies
    begin_ns = spans[0][1].end_time_unix_nano
    length_ns = max(1, spans[-1][1].end_time_unix_nano - begin_ns)
    left = count
    batch: list[tuple[str, Span]] = []
    for copy in range(copies):
        mask, shift_ns = draw.randbytes(24), first_ns + copy * step_ns - begin_ns
        # A recording that is longer than its part of the time is put together closer.
        squeeze = min(1.0, step_ns / length_ns)
        for service, span in spans[:left]:
            batch.append((service, _again(span, mask, copy, copies_of_bots, shift_ns, begin_ns, squeeze)))
            if len(batch) == EXPORT_SPANS:
                yield _serialized(batch)
                batch = []
        left -= min(left, len(spans))
    if batch:
        yield _serialized(batch)


def _text(span: Span, key: str) -> str:
    return next((pair.value.string_value for pair in span.attributes if pair.key == key), "")


def _xor(data: bytes, mask: bytes) -> bytes:
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask[: len(data)], "big")).to_bytes(len(data), "big")


def _again(
    span: Span, mask: bytes, copy: int, copies_of_bots: int, shift_ns: int, begin_ns: int, squeeze: float
) -> Span:
    one = type(span)()
    one.CopyFrom(span)
    one.trace_id, one.span_id = _xor(span.trace_id, mask), _xor(span.span_id, mask[16:])
    if span.parent_span_id:
        one.parent_span_id = _xor(span.parent_span_id, mask[16:])
    took_ns = span.end_time_unix_nano - span.start_time_unix_nano
    one.end_time_unix_nano = begin_ns + int((span.end_time_unix_nano - begin_ns) * squeeze) + shift_ns
    one.start_time_unix_nano = one.end_time_unix_nano - took_ns
    for pair in one.attributes:
        if pair.key == _BOT and pair.value.string_value != "gateway":
            pair.value.string_value += f"-{copy % copies_of_bots}"
        elif pair.key == _ORDER:
            pair.value.string_value += f":{copy}"
    return one


def _serialized(batch: list[tuple[str, Span]]) -> bytes:
    request = ExportTraceServiceRequest()
    scopes: dict[str, ScopeSpans] = {}
    for service, span in batch:
        if service not in scopes:
            resource = request.resource_spans.add()
            resource.resource.attributes.add(key="service.name").value.string_value = service
            scopes[service] = resource.scope_spans.add()
        scopes[service].spans.append(span)
    return request.SerializeToString()
