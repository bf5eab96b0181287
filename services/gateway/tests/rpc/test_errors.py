"""Failures as callers see them."""

from __future__ import annotations

from decimal import Decimal

import grpc

from derivfleet.common.clock import ManualClock
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.operations import Denied
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import advance
from derivfleet.gateway.rpc import errors as problems
from derivfleet.gateway.upstream.pool import StreamsFullError


def test_an_order_that_is_denied_because_deriv_is_sick_is_denied_for_good_and_says_when_to_come_back() -> None:
    terms = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
    intended = Order("demo", "o1", "one", terms, State.INTENDED, 0)
    problem = problems.denied(
        advance(intended, Denied("DERIV_SICK", "so it is"), 1), "demo", 1_500_000_000, ManualClock()
    )
    assert (problem.code, problem.reason) == (grpc.StatusCode.ABORTED, "DERIV_SICK")
    assert (problem.retry_after_s, problem.limit) == (1.5, "")
    assert problem.metadata == {"order_id": "o1", "final": "true"}


def test_a_stream_for_which_there_is_no_room_names_the_limit() -> None:
    problem = problems.refused(Call.TICKS, StreamsFullError(Call.TICKS, 2, 192, for_now=False))
    assert (problem.code, problem.reason, problem.limit) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "STREAMS_FULL",
        "streams",
    )
    assert "2 open sockets hold 192 streams" in problem.message
    assert problem.retry_after_s == 30
