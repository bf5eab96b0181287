"""What went wrong, as the callers of this service's gRPC services are told."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from derivfleet.common.rpc.status import Problem, ProblemError, abort
from derivfleet.metrics.reports.periods import FieldError
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["abort_on_errors"]


@asynccontextmanager
async def abort_on_errors(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncGenerator[None, None]:
    """End the call with what its errors mean to the caller."""
    try:
        yield
    except ProblemError as error:
        await abort(context, error.problem)
    except FieldError as error:
        await abort(context, Problem(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", str(error), field=error.field))
    except StoreError as error:
        await abort(context, Problem(grpc.StatusCode.UNAVAILABLE, "STORE_FAILED", str(error), retry_after_s=1.0))
