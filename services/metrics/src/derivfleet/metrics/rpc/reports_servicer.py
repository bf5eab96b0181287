"""The gRPC service that hands out reports and traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.metrics.rpc.errors import abort_on_errors
from derivfleet.v1 import reports_pb2, reports_pb2_grpc

if TYPE_CHECKING:
    from typing import Any

    import grpc

    from derivfleet.metrics.reports.reports import Reports

    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["ReportsServicer"]


class ReportsServicer(reports_pb2_grpc.ReportsServiceServicer):
    """``derivfleet.v1.ReportsService``."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def GetReport(  # noqa: N802 - gRPC's name
        self, request: reports_pb2.GetReportRequest, context: Context
    ) -> reports_pb2.GetReportResponse:
        """A report and, if asked for, what it is compared with.

        INVALID_ARGUMENT names the field, UNAVAILABLE says that the store failed.
        """
        async with abort_on_errors(context):
            return await self._reports.answer(request)
        raise AssertionError("abort returned")

    async def GetTrace(  # noqa: N802 - gRPC's name
        self, request: reports_pb2.GetTraceRequest, context: Context
    ) -> reports_pb2.GetTraceResponse:
        """The spans of one order; NOT_FOUND if none has arrived, the rest as in GetReport."""
        async with abort_on_errors(context):
            trace = await self._reports.trace(request.account, request.order_id)
            return reports_pb2.GetTraceResponse(trace=trace)
        raise AssertionError("abort returned")
