"""The receiver of traces: OTLP over gRPC, from whoever sends. What is acknowledged is on disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.records.otlp import Received, count_spans, received_rows
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.metrics.store.store import Store

__all__ = ["TRACE_SERVICE", "IngestCounts", "TraceReceiver"]

TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_log = structlog.get_logger()
_RETRY_WALL_S = 1
_DAY_NS = 86_400 * NS_PER_S
_MOST_AT_ONCE = 8_192
"""Spans that share a commit: more would only make the first of them wait longer."""
Context = grpc.aio.ServicerContext[bytes, ExportTraceServiceResponse]


@dataclass(slots=True)
class IngestCounts:
    """Spans since the service started: new ones, ones that were there already, malformed ones, ones sent away.

    ``unreadable`` are exports that were no OTLP at all; how many spans their senders meant nobody knows.
    """

    kept: int = 0
    repeated: int = 0
    refused: int = 0
    sent_away: int = 0
    unreadable: int = 0


class TraceReceiver:
    """Takes spans, at most ``queue_spans`` at a time; more are told to come again, which exporters do by themselves.

    Exports that wait for the disk share a commit. Spans older than ``span_days`` are refused: whether one was there
    already is known for that long.
    """

    def __init__(self, store: Store, clock: Clock, queue_spans: int, span_days: int) -> None:
        self._store = store
        self._clock = clock
        self._queue_spans = queue_spans
        self._reach_ns = span_days * _DAY_NS
        self._waiting = 0
        self._exports: list[tuple[Received, asyncio.Future[int]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._reasons: set[str] = set()
        self._trouble = ""
        self.counts = IngestCounts()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service for a server. It takes exports as bytes: what can be read is kept so, the rest counted."""
        behaviour: Any = self.export  # the typed stubs know synchronous behaviours only
        export: grpc.RpcMethodHandler[bytes, ExportTraceServiceResponse] = grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=None, response_serializer=ExportTraceServiceResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(TRACE_SERVICE, {"Export": export})

    async def export(self, raw: bytes, context: Context) -> ExportTraceServiceResponse:
        """Keep the spans of one export.

        Malformed ones are refused by count and reason in ``partial_success`` (a sender must not send them again).
        Ends with INVALID_ARGUMENT if the export cannot be read, with RESOURCE_EXHAUSTED and RetryInfo if too many spans
        wait for the disk, with UNAVAILABLE and RetryInfo if the disk failed.
        """
        try:
            request = ExportTraceServiceRequest.FromString(raw)
        except DecodeError:
            self.counts.unreadable += 1
            self._say("export is not OTLP", context)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is not an ExportTraceServiceRequest")
            raise AssertionError("abort returned") from None
        count = count_spans(request)
        # One export larger than the whole queue still gets in alone: told to come again, it would do so for ever.
        if self._waiting and self._waiting + count > self._queue_spans:
            self.counts.sent_away += count
            await self._send_away(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._waiting} spans wait for the disk, at most {self._queue_spans} may",
            )
        now_ns = self._clock.now_ns()
        received = received_rows(raw, request, now_ns - self._reach_ns, now_ns + _DAY_NS)
        self._waiting += count
        try:
            kept = await self._keep(received)
        except StoreError as error:
            self.counts.sent_away += count
            await self._send_away(context, grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._waiting -= count
        self._trouble = ""
        self.counts.kept += kept
        self.counts.repeated += len(received.rows) - kept
        if not received.refused:
            return ExportTraceServiceResponse()
        self.counts.refused += received.refused_count
        for reason in received.refused:
            self._say(reason, context)
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(
                rejected_spans=received.refused_count, error_message=received.refusal()
            )
        )

    async def _keep(self, received: Received) -> int:
        """Keep an export together with whatever else waits; returns how many spans are new. Raises StoreError."""
        if not received.rows:
            return 0
        kept: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exports.append((received, kept))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await asyncio.shield(kept)

    async def _write(self) -> None:
        try:
            while self._exports:
                batch, spans = 0, 0
                while batch < len(self._exports) and (not batch or spans < _MOST_AT_ONCE):
                    spans += len(self._exports[batch][0].rows)
                    batch += 1
                taken, self._exports = self._exports[:batch], self._exports[batch:]
                try:
                    counts = await self._store.keep_spans([one for one, _ in taken], self._clock.now_ns())
                except StoreError as error:
                    for _, kept in taken:
                        kept.set_exception(error)
                else:
                    for (_, kept), count in zip(taken, counts, strict=True):
                        kept.set_result(count)
        finally:
            self._writing = None

    def _say(self, reason: str, context: Context) -> None:
        if reason not in self._reasons:
            # Once a reason: a sender with a defect repeats it with every export.
            self._reasons.add(reason)
            _log.warning("spans refused", reason=reason, peer=context.peer())

    async def _send_away(self, context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
        if self._trouble != code.name:
            self._trouble = code.name
            _log.warning("spans sent away", reason=code.name, problem=message)
        retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=_RETRY_WALL_S))
        status = Status(code=code_pb2.Code.Value(code.name), message=message)
        detail = AnyMessage()
        detail.Pack(retry)
        status.details.append(detail)
        # The specification of OTLP/gRPC wants RetryInfo in the status details; Python's exporter reads it on its own.
        metadata = (
            ("grpc-status-details-bin", status.SerializeToString()),
            ("google.rpc.retryinfo-bin", retry.SerializeToString()),
        )
        await context.abort(code, message, metadata)
        raise AssertionError("abort returned")
