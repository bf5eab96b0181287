"""Errors on the wire: a gRPC code with google.rpc details that say which limit or field, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

__all__ = ["DOMAIN", "Problem", "ProblemError", "abort", "problem_of"]

DOMAIN = "derivfleet"
_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, for the program (reason, field, limit, retry) and for the person (message).

    ``reason`` is UPPER_SNAKE. ``retry_after_s`` is wall seconds; None means that the same call will fail again.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    field: str = ""
    limit: str = ""
    retry_after_s: float | None = None
    metadata: Mapping[str, str] = dataclass_field(default_factory=dict[str, str])


class ProblemError(Exception):
    """A problem on its way to the caller."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _details(problem: Problem, message: str) -> list[Message]:
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=problem.reason, domain=DOMAIN, metadata=dict(problem.metadata))
    ]
    if problem.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=problem.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if problem.limit:
        quota = error_details_pb2.QuotaFailure.Violation(subject=problem.limit, description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    if problem.retry_after_s is not None:
        seconds, nanos = divmod(max(0, round(problem.retry_after_s * NS_PER_S)), NS_PER_S)
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos)))
    return details


async def abort(context: grpc.aio.ServicerContext[Any, Any], problem: Problem) -> NoReturn:
    """End a call with a problem."""
    message = redact(problem.message)
    number: int = problem.code.value[0]
    details = [
        AnyMessage(type_url=f"type.googleapis.com/{detail.DESCRIPTOR.full_name}", value=detail.SerializeToString())
        for detail in _details(problem, message)
    ]
    status = Status(code=number, message=message, details=details)
    await context.abort(problem.code, message, ((_DETAILS_KEY, status.SerializeToString()),))
    raise AssertionError("abort returned")


def problem_of(error: grpc.aio.AioRpcError) -> Problem:
    """What a failed call says, whether it came from one of our services or from gRPC itself."""
    reason, field_name, limit, retry = error.code().name, "", "", None
    metadata: dict[str, str] = {}
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        for packed in Status.FromString(value).details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            quota, wait = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
            if packed.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif packed.Unpack(bad) and bad.field_violations:
                field_name = bad.field_violations[0].field
            elif packed.Unpack(quota) and quota.violations:
                limit = quota.violations[0].subject
            elif packed.Unpack(wait):
                retry = wait.retry_delay.ToNanoseconds() / NS_PER_S
    if error.code() is grpc.StatusCode.UNAVAILABLE and retry is None:
        retry = 1.0
    return Problem(error.code(), reason, error.details() or error.code().name, field_name, limit, retry, metadata)
