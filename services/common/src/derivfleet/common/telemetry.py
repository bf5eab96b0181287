"""Traces: spans written by hand, stamped by the fleet's clock, exported over OTLP.

Parents are passed explicitly: a trade's spans start and end in many tasks, and an explicit parent cannot be lost.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from derivfleet.common.optional_packages import without
from derivfleet.common.redaction import redact
from derivfleet.common.spans import SPANS, Attribute, SpanKind, SpanName
from derivfleet.common.vitals import Vitals

# It tells what a process is made of with psutil where it finds that: nobody asks, and it is a megabyte.
with without("psutil"):
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

    from derivfleet.common.clock import Clock

__all__ = ["OpenSpan", "Telemetry", "context_from", "metadata_of"]

CLOSE_TIMEOUT_WALL_S = 2.5
SEND_EVERY_WALL_MS = 200.0
"""Small parcels often: packing a large one keeps everything else waiting."""
Value = str | int | bool
_KINDS = {
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.SERVER: trace.SpanKind.SERVER,
}
_PROPAGATOR = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()
_SCOPE = InstrumentationScope("derivfleet")
_RECORDED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)


def _redacted(attributes: Mapping[Attribute, Value]) -> dict[str, Value]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in attributes.items()}


class OpenSpan:
    """A span that has started. Ends once; setting attributes after that does nothing.

    It becomes one of OpenTelemetry's own when it ends. The library's recording spans guard every step against many
    threads and limits that nobody here has, which makes the cheapest answers of a service dearer by a third.
    """

    __slots__ = ("_attributes", "_end", "_ended", "_name", "_parent", "_span_context", "_start_ns", "_status")

    def __init__(
        self,
        name: SpanName,
        attributes: Mapping[Attribute, Value],
        parent: trace.SpanContext,
        start_ns: int,
        end: Callable[[OpenSpan, int | None], None],
    ) -> None:
        self._name = name
        self._attributes = _redacted(attributes)
        self._parent = parent if parent.is_valid else None
        self._start_ns = start_ns
        self._end = end
        self._ended = False
        self._status = _UNSET
        self._span_context = trace.SpanContext(
            parent.trace_id if parent.is_valid else _IDS.generate_trace_id(),
            _IDS.generate_span_id(),
            is_remote=False,
            # Reports count calls by their spans, so no caller may choose that its are not recorded.
            trace_flags=_RECORDED,
            trace_state=parent.trace_state,
        )

    @property
    def context(self) -> Context:
        """To start children under."""
        return trace.set_span_in_context(trace.NonRecordingSpan(self._span_context))

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return trace.format_trace_id(self._span_context.trace_id)

    @property
    def traceparent(self) -> str:
        """W3C's header for what is done under it."""
        context = self._span_context
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, attributes: Mapping[Attribute, Value]) -> None:
        if not self._ended:
            self._attributes |= _redacted(attributes)

    def fail(self, code: str, message: str = "") -> None:
        """Mark the span as failed with a code that can be counted."""
        if not self._ended:
            self._attributes[Attribute.ERROR_CODE] = code
            self._status = Status(StatusCode.ERROR, redact(message) or code)

    def end(self, end_ns: int | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._end(self, end_ns)

    def finished(self, resource: Resource, end_ns: int) -> ReadableSpan:
        """What is exported."""
        return ReadableSpan(
            name=self._name,
            context=self._span_context,
            parent=self._parent,
            resource=resource,
            attributes=self._attributes,
            kind=_KINDS[SPANS[self._name].kind],
            status=self._status,
            start_time=self._start_ns,
            end_time=end_ns,
            instrumentation_scope=_SCOPE,
        )


class Telemetry:
    """The tracer of one process. ``endpoints`` are host:port of OTLP/gRPC receivers, with commas between; empty exports
    nothing.
    """

    def __init__(
        self, service: str, clock: Clock, endpoints: str = "", processors: Iterable[SpanProcessor] = ()
    ) -> None:
        self.vitals = Vitals()
        self._clock = clock
        self._resource = Resource.create(
            {
                "service.name": f"derivfleet-{service}",
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        self._processors: list[SpanProcessor] = [
            # One queue each: a receiver that is away costs the others nothing.
            _sender(receiver, clock)
            for receiver in filter(None, endpoints.split(","))
        ]
        self._processors += processors

    def start(
        self,
        name: SpanName,
        attributes: Mapping[Attribute, Value],
        parent: Context | None = None,
        start_ns: int | None = None,
    ) -> OpenSpan:
        """Start a span now, or at an earlier instant of fleet time; the caller ends it."""
        return OpenSpan(
            name,
            attributes,
            trace.INVALID_SPAN_CONTEXT if parent is None else trace.get_current_span(parent).get_span_context(),
            self._clock.now_ns() if start_ns is None else start_ns,
            self._end,
        )

    def _end(self, span: OpenSpan, end_ns: int | None) -> None:
        finished = span.finished(self._resource, self._clock.now_ns() if end_ns is None else end_ns)
        for processor in self._processors:
            processor.on_end(finished)

    @contextmanager
    def span(
        self, name: SpanName, attributes: Mapping[Attribute, Value], parent: Context | None = None
    ) -> Generator[OpenSpan, None, None]:
        """A span over a block; an exception fails it with the exception's name."""
        opened = self.start(name, attributes, parent)
        try:
            yield opened
        except BaseException as error:
            opened.fail(type(error).__name__, str(error))
            raise
        finally:
            opened.end()

    def close(self, timeout_wall_s: float = CLOSE_TIMEOUT_WALL_S) -> None:
        """Send what is left, as far as that is possible in a while."""
        # The exporter tries every batch again and again, whatever it is told; so it is left behind when time is up.
        # And each receiver has its own thread: the one that is gone must not keep the others from the last spans.
        endings = [threading.Thread(target=one.shutdown, name="last traces", daemon=True) for one in self._processors]

        def end_all() -> None:
            for ending in endings:
                ending.start()
            for ending in endings:
                ending.join()

        whole = threading.Thread(target=end_all, name="last traces", daemon=True)
        whole.start()
        whole.join(timeout_wall_s)


def _sender(receiver: str, clock: Clock) -> SpanProcessor:
    """Sends spans to host:port. Its imports are here: a service that sends none needs no gRPC, which takes 5 MB."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above

    from derivfleet.common.otlp import OtlpExporter  # noqa: PLC0415 - see above

    return BatchSpanProcessor(
        OtlpExporter(receiver),
        schedule_delay_millis=min(SEND_EVERY_WALL_MS, max(100.0, 1000 / clock.speed)),
        max_queue_size=20_000,
    )


def metadata_of(context: Context) -> tuple[tuple[str, str], ...]:
    """The gRPC metadata that carries a trace to the next service (W3C trace context)."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=context)
    return tuple(carrier.items())


def context_from(metadata: Iterable[tuple[str, str | bytes]] | None) -> Context:
    """The trace that gRPC metadata carries; an empty one starts a new trace."""
    carrier = {key: value for key, value in metadata or () if isinstance(value, str)}
    return _PROPAGATOR.extract(carrier, context=trace.set_span_in_context(trace.INVALID_SPAN))
