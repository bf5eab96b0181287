from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from derivfleet.metrics.records.otlp import Received, count_spans, received_rows, records_of

if TYPE_CHECKING:
    from derivfleet.metrics.records.span import SpanRecord


def attribute(key: str, **value: Any) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(**value))


def good(**changes: Any) -> Span:
    values: dict[str, Any] = {
        "trace_id": b"\x01" * 16,
        "span_id": b"\x02" * 8,
        "name": "gateway.buy",
        "start_time_unix_nano": 10,
        "end_time_unix_nano": 20,
    }
    return Span(**{**values, **changes})


def export(*spans: Span) -> ExportTraceServiceRequest:
    resource = Resource(attributes=[attribute("service.name", string_value="derivfleet-gateway")])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    )


def receive(request: ExportTraceServiceRequest, *reach: int) -> Received:
    return received_rows(request.SerializeToString(), request, *reach)


def records(request: ExportTraceServiceRequest) -> list[SpanRecord]:
    """What people see of an export that was kept."""
    return list(records_of(receive(request).body))


def test_a_span_keeps_what_reports_ask_for_apart() -> None:
    span = good(
        parent_span_id=b"\x03" * 8,
        attributes=[
            attribute("derivfleet.account", string_value="demo"),
            attribute("derivfleet.bot", string_value="over-4"),
            attribute("derivfleet.order_id", string_value="over-4:1"),
            attribute("derivfleet.rate_refused", bool_value=True),
            attribute("derivfleet.profit", string_value="-0.35"),
            attribute("count", int_value=2**40),
            attribute("ratio", double_value=float("inf")),
            attribute("list", array_value=ArrayValue(values=[AnyValue(int_value=1)])),
        ],
    )
    (record,) = records(export(span))
    assert (record.trace_id, record.span_id, record.parent_id) == ("01" * 16, "02" * 8, "03" * 8)
    assert (record.account, record.bot, record.order_id) == ("demo", "over-4", "over-4:1")
    assert (record.service, record.rate_refused, record.error_code) == ("derivfleet-gateway", True, "")
    rest = json.loads(record.attributes)
    assert set(rest) == {"derivfleet.profit", "count", "ratio", "list"}
    assert (rest["count"], rest["ratio"]) == (2**40, "inf")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trace_id": b""}, "trace id"),
        ({"trace_id": b"\x00" * 16}, "trace id"),
        ({"span_id": b"\x01" * 7}, "span id"),
        ({"span_id": b"\x00" * 8}, "span id"),
        ({"parent_span_id": b"\x01"}, "parent span id"),
        ({"name": ""}, "name"),
        ({"name": "n" * 257}, "name"),
        ({"start_time_unix_nano": 0}, "start and end"),
        ({"end_time_unix_nano": 9}, "start and end"),
        ({"end_time_unix_nano": 2**63}, "start and end"),
        ({"attributes": [attribute("derivfleet.bot", int_value=4)]}, "derivfleet.bot"),
        ({"attributes": [attribute("derivfleet.order_id", string_value="x" * 257)]}, "derivfleet.order_id"),
        ({"attributes": [attribute("derivfleet.rate_refused", string_value="yes")]}, "derivfleet.rate_refused"),
        ({"attributes": [attribute("blob", string_value="x" * 20_000)]}, "span is larger"),
    ],
)
def test_a_malformed_span_is_refused_alone_and_by_reason(changes: dict[str, Any], reason: str) -> None:
    request = export(good(), good(**changes), good(**changes))
    received = receive(request)
    assert count_spans(request) == 3
    assert len(received.rows) == len(records(request)) == 1
    assert received.refused_count == 2
    assert received.refusal().startswith("2 x ")
    assert reason in received.refusal()


def test_a_failed_span_without_a_code_is_still_an_error() -> None:
    (record,) = records(export(good(status=Status(code=Status.STATUS_CODE_ERROR))))
    assert record.error_code == "UNSPECIFIED"


def test_a_strangers_secret_does_not_get_in() -> None:
    url = attribute("url", string_value='wss://host/ws?otp=abc123"tail')
    request = export(good(attributes=[url]))
    assert b"abc123" not in receive(request).body
    (record,) = records(export(good(attributes=[url])))
    assert json.loads(record.attributes)["url"] == 'wss://host/ws?otp=***"tail'


@given(st.binary(max_size=20), st.binary(max_size=10), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whatever_comes_is_either_kept_or_counted(trace_id: bytes, span_id: bytes, start: int, end: int) -> None:
    span = good(trace_id=trace_id, span_id=span_id, start_time_unix_nano=start, end_time_unix_nano=end)
    received = receive(export(span))
    assert len(received.rows) + received.refused_count == 1
    for record in received.rows:
        assert 0 < record.start_ns <= record.end_ns < 2**63


def test_a_span_beyond_what_is_remembered_or_from_the_future_is_refused_by_reason() -> None:
    request = export(good(), good(span_id=b"\x04" * 8, end_time_unix_nano=50))
    assert receive(request, 30, 100).refusal() == "1 x ended longer ago than spans are kept"
    assert "more than a day from now" in receive(request, 0, 30).refusal()
    assert [row.end_ns for row in receive(request, 0, 30).rows] == [20]


@pytest.mark.parametrize(
    ("trace_state", "weight"),
    [
        ("", 1),
        ("ot=th:8", 2),
        ("vendor=x,ot=rv:abc;th:c", 4),
        ("ot=th:fd70a3d70a3d71", 100),
        ("ot=th:0", 1),
        ("ot=th:x", 1),
    ],
)
def test_a_span_of_a_sampler_stands_for_as_many_as_it_says(trace_state: str, weight: int) -> None:
    (row,) = receive(export(good(trace_state=trace_state))).rows
    assert row.weight == weight


def test_a_masked_export_keeps_what_else_it_says() -> None:
    links = Span.Event(
        name="https://u:secret@host/", time_unix_nano=3, attributes=[attribute("t", string_value="Bearer abc")]
    )
    tags = attribute("tags", array_value=ArrayValue(values=[AnyValue(string_value="token=abc")]))
    body = receive(export(good(events=[links], attributes=[tags, attribute("bot", string_value="x")]))).body
    assert b"secret" not in body
    assert b"abc" not in body
    (record,) = records_of(body)
    assert json.loads(record.attributes)["bot"] == "x"


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="names are kept with whatever characters they have")
@pytest.mark.parametrize("text", ["over\0four", "over\nfour", "\x1b[31mover", "\u202erevo"])
@pytest.mark.parametrize("key", ["derivfleet.bot", "derivfleet.error_code", "derivfleet.call"])
def test_what_is_kept_of_names_can_be_shown_to_people(key: str, text: str) -> None:
    received = receive(export(good(attributes=[attribute(key, string_value=text)])))
    assert all((row.bot + row.error_code + row.call).isprintable() for row in received.rows)
