"""The receiver of traces: OTLP over gRPC, from whoever sends. What is acknowledged is on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from derivfleet.metrics.otlp import count_spans, received_spans
from derivfleet.metrics.store import StoreError

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from derivfleet.metrics.store import Store

__all__ = ["TRACE_SERVICE", "IngestCounts", "TraceReceiver"]

TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_log = structlog.get_logger()
_RETRY_WALL_S = 1
Context = grpc.aio.ServicerContext["ExportTraceServiceRequest", ExportTraceServiceResponse]


@dataclass(slots=True)
class IngestCounts:
    """Spans since the service started: new ones, ones that were there already, malformed ones, ones sent away."""

    kept: int = 0
    repeated: int = 0
    refused: int = 0
    sent_away: int = 0


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans, at most ``queue_spans`` at a time; more are told to come again, which exporters do by themselves."""

    def __init__(self, store: Store, queue_spans: int) -> None:
        self._store = store
        self._queue_spans = queue_spans
        self._waiting = 0
        self._reasons: set[str] = set()
        self._trouble = ""
        self.counts = IngestCounts()

    async def Export(self, request: ExportTraceServiceRequest, context: Context) -> ExportTraceServiceResponse:  # noqa: N802 - gRPC's name
        """Keep the spans of one export.

        Malformed ones are refused by count and reason in ``partial_success`` (a sender must not send them again).
        Ends with RESOURCE_EXHAUSTED and RetryInfo if too many spans wait for the disk, with UNAVAILABLE and RetryInfo
        if the disk failed.
        """
        count = count_spans(request)
        # One export larger than the whole queue still gets in alone: told to come again, it would do so for ever.
        if self._waiting and self._waiting + count > self._queue_spans:
            self.counts.sent_away += count
            await self._send_away(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._waiting} spans wait for the disk, at most {self._queue_spans} may",
            )
        received = received_spans(request)
        self._waiting += count
        try:
            kept = await self._store.keep_spans(received.spans)
        except StoreError as error:
            self.counts.sent_away += count
            await self._send_away(context, grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._waiting -= count
        self._trouble = ""
        self.counts.kept += kept
        self.counts.repeated += len(received.spans) - kept
        if not received.refused:
            return ExportTraceServiceResponse()
        self.counts.refused += received.refused_count
        for reason in received.refused.keys() - self._reasons:
            # Once a reason: a sender with a defect repeats it with every export.
            self._reasons.add(reason)
            _log.warning("spans refused", reason=reason, peer=context.peer())
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(
                rejected_spans=received.refused_count, error_message=received.refusal()
            )
        )

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
