"""``python -m tests.fuzz_otlp N [SEED]``: exports as no exporter sends them, through everything that reads them.

Whatever comes is unreadable, kept or counted; what is kept reads back as it was counted.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from rich.progress import track

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.metrics.records.otlp import count_spans, received_rows, records_of, rows_of
from derivfleet.metrics.sums.span_aggregates import MinuteAggregates, SpanAggregate

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fuzz"]

T = TypeVar("T")
_ODD = 0.08
_SECOND_NS = 1_000_000_000
_NOW_NS = 1_795_161_600 * _SECOND_NS
_TEXTS = (
    "",
    "demo",
    "over-4",
    "x" * 257,
    "token=abc",
    "\x00",
    "ü" * 200,
    "-0.35",
    "https://u:p@h/",
    "buy",
    "trade/60s",
)
_STATES = ("", "ot=th:8", "ot=th:", "ot=th:ffffffffffffff", "a=b,ot=rv:1;th:c", "=,=;")
_ODD_NUMBERS = (0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1)


def _mostly(draw: random.Random, usual: T, odd: Sequence[T]) -> T:
    return draw.choice(odd) if draw.random() < _ODD else usual


def _value(draw: random.Random) -> AnyValue:
    odd = (
        AnyValue(int_value=draw.choice((-1, 2**62))),
        AnyValue(bool_value=True),
        AnyValue(double_value=draw.choice((float("nan"), float("inf"), 0.5))),
        AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=draw.choice(_TEXTS))])),
        AnyValue(bytes_value=draw.randbytes(4)),
    )
    return _mostly(draw, AnyValue(string_value=draw.choice(_TEXTS)), odd)


def _payload(draw: random.Random) -> bytes:
    """An export that is odd in what it says, and in every second case broken in how it is written."""
    request = ExportTraceServiceRequest()
    for _ in range(draw.choice((0, 1, 1, 2))):
        resource = request.resource_spans.add()
        if draw.random() < 0.5:
            resource.resource.attributes.add(key="service.name").value.string_value = draw.choice(_TEXTS)
        scope = resource.scope_spans.add()
        for _ in range(draw.choice((0, 1, 2, 4))):
            end_ns = _NOW_NS + draw.randrange(-(10**13), 10**13)
            span = scope.spans.add(
                trace_id=draw.randbytes(_mostly(draw, 16, (0, 8, 40))),
                span_id=draw.randbytes(_mostly(draw, 8, (0, 16))),
                parent_span_id=draw.randbytes(_mostly(draw, 8, (0, 3))),
                name=_mostly(draw, draw.choice([*SpanName]), _TEXTS),
                trace_state=draw.choice(_STATES),
                start_time_unix_nano=_mostly(draw, end_ns - 10**6, _ODD_NUMBERS),
                end_time_unix_nano=_mostly(draw, end_ns, _ODD_NUMBERS),
            )
            for key in draw.sample([*Attribute, "odd", ""], draw.randrange(6)):
                span.attributes.add(key=key).value.CopyFrom(_value(draw))
    raw = bytearray(request.SerializeToString())
    if raw and draw.random() < 0.5:
        for _ in range(draw.randrange(1, 6)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        if draw.random() < 0.3:
            del raw[draw.randrange(len(raw)) :]
    return bytes(raw)


def _judge(raw: bytes) -> tuple[int, int, int]:
    """(unreadable, kept, refused) of one export. Raises whatever a defect raises."""
    try:
        request = ExportTraceServiceRequest.FromString(raw)
    except DecodeError:
        return 1, 0, 0
    count = count_spans(request)
    received = received_rows(raw, request, _NOW_NS - 10**13, _NOW_NS + 10**13)
    if len(received.rows) + received.refused_count != count:
        raise AssertionError(f"{count} spans became {len(received.rows)} and {received.refusal()}")
    if tuple(rows_of(received.body)) != received.rows:
        raise AssertionError("what is kept is not what was counted")
    if len(list(records_of(received.body))) != len(received.rows):
        raise AssertionError("what is kept cannot be shown")
    aggregates = MinuteAggregates()
    for row in received.rows:
        aggregates.add(row, _NOW_NS)
    for _, _, _, aggregate in aggregates.rolled_up(300):
        if SpanAggregate.of(aggregate.body()) != aggregate:
            raise AssertionError("an aggregate is not what was stored")
    return 0, len(received.rows), received.refused_count


def fuzz(count: int, seed: int, *, quiet: bool = True) -> tuple[int, int, int]:
    """Try as many payloads; returns (unreadable, kept, refused). Raises AssertionError with what repeats the case."""
    draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
    unreadable = kept = refused = 0
    for number in track(range(count), "payloads", disable=quiet):
        raw = _payload(draw)
        try:
            one = _judge(raw)
        except Exception as error:
            raise AssertionError(f"payload {number} of seed {seed}: {error!r}: {raw.hex()}") from error
        unreadable, kept, refused = unreadable + one[0], kept + one[1], refused + one[2]
    return unreadable, kept, refused


if __name__ == "__main__":
    many, first = int(sys.argv[1]) if sys.argv[1:] else 1_000_000, int(sys.argv[2]) if sys.argv[2:] else 1
    found = fuzz(many, first, quiet=False)
    sys.stdout.write(
        f"{many} payloads of seed {first}: {found[0]} unreadable, {found[1]} spans kept, {found[2]} refused\n"
    )
