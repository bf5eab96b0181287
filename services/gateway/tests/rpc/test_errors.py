"""Failures as callers see them."""

from __future__ import annotations

import grpc

from derivfleet.common.clock import ManualClock
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DENIALS, DerivSick, LimitReached
from derivfleet.gateway.rpc import errors
from derivfleet.gateway.upstream.pool import StreamsFullError


def test_an_order_that_is_denied_because_deriv_is_sick_is_denied_for_good_and_says_when_to_come_back() -> None:
    sick = DerivSick("so it is", wait_ns=1_500_000_000)
    wait_s = ManualClock().wall_s(sick.wait_s)
    problem = errors.not_sent("order o1", sick.code, str(sick), "demo", {"order_id": "o1"}, wait_s)
    assert (problem.code, problem.reason) == (grpc.StatusCode.ABORTED, "DERIV_SICK")
    assert (problem.retry_after_s, problem.limit) == (1.5, "")
    assert problem.metadata == {"order_id": "o1", "final": "true"}


def test_a_stream_for_which_there_is_no_room_names_the_limit() -> None:
    problem = errors.refused(Call.TICKS, StreamsFullError(Call.TICKS, 2, 192, for_now=False))
    assert (problem.code, problem.reason, problem.limit) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "STREAMS_FULL",
        "streams",
    )
    assert "2 open sockets hold 192 streams" in problem.message
    assert problem.retry_after_s == 30


def test_every_denial_has_a_status_and_words() -> None:
    assert set(errors.STATUS) == set(DENIALS)
    assert len({denial.code for denial in DENIALS}) == len(DENIALS)


def test_a_denial_names_what_it_is_about_and_what_it_waits_for() -> None:
    problem = errors.denied(
        LimitReached("trade/60s", wait_ns=1_500_000_000), ManualClock(), "order o1", {"order_id": "o1"}
    )
    assert (problem.code, problem.limit, problem.retry_after_s) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "trade/60s",
        1.5,
    )
    assert problem.message == "order o1 was not taken: would start in 1.5 s because of trade/60s"
    assert problem.metadata == {"order_id": "o1"}
