"""Sends spans to a receiver over OTLP/gRPC.

OpenTelemetry's own exporter loads its metrics and logs beside: 3 MB and a quarter of a second in every process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from derivfleet.common.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["OtlpExporter"]

_log = get_logger()
EXPORT_TIMEOUT_WALL_S = 3.0
"""For one batch, with all its attempts."""
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRIES: dict[str, Any] = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "1s",
                "maxBackoff": "4s",
                "backoffMultiplier": 2,
                # What OTLP's specification says is worth another attempt.
                "retryableStatusCodes": [
                    "CANCELLED",
                    "DEADLINE_EXCEEDED",
                    "RESOURCE_EXHAUSTED",
                    "ABORTED",
                    "OUT_OF_RANGE",
                    "UNAVAILABLE",
                    "DATA_LOSS",
                ],
            },
        }
    ]
}


class OtlpExporter(SpanExporter):
    """Sends batches of spans to host:port. What is not taken in time is lost, and that is logged once until it ends."""

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self._channel = grpc.insecure_channel(
            receiver,
            options=[
                ("grpc.service_config", json.dumps(_RETRIES)),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.min_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 1_000),
            ],
        )
        self._export = self._channel.unary_unary(
            _EXPORT,
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        self._is_taken = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; blocks."""
        try:
            self._export(encode_spans(spans), timeout=EXPORT_TIMEOUT_WALL_S)
        except grpc.RpcError as error:
            if self._is_taken:
                _log.warning("spans are not taken", receiver=self._receiver, problem=" ".join(str(error).split()))
            self._is_taken = False
            return SpanExportResult.FAILURE
        if not self._is_taken:
            _log.info("spans are taken again", receiver=self._receiver)
        self._is_taken = True
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._channel.close()
