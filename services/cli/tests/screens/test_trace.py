"""A trace as people see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from derivfleet.cli.screens.trace import trace_lines
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    from conftest import Fleet

ORDER = {"derivfleet.order_id": "over-4:R_100:1:0", "derivfleet.account": "demo", "derivfleet.bot": "over-4"}


def span(
    number: int,
    name: str,
    parent: int = 0,
    at_ms: tuple[float, float] = (0.0, 1.0),
    error: str = "",
    **attributes: str,
) -> reports_pb2.Span:
    return reports_pb2.Span(
        trace_id="a" * 32,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        name=name,
        service="derivfleet-bot" if name.startswith("trade") else "derivfleet-gateway",
        start_ns=1_795_161_600_000_000_000 + round(at_ms[0] * 1e6),
        end_ns=1_795_161_600_000_000_000 + round(at_ms[1] * 1e6),
        attributes={**ORDER, **{f"derivfleet.{key}": value for key, value in attributes.items()}},
        error_code=error,
    )


def a_trade() -> reports_pb2.Trace:
    return reports_pb2.Trace(
        account="demo",
        order_id="over-4:R_100:1:0",
        complete=True,
        spans=[
            span(1, "trade", 0, (0, 1006.51), symbol="R_100", state="settled"),
            span(2, "trade.decide", 1, (0, 0.2), symbol="R_100"),
            span(3, "trade.buy", 1, (3.5, 23.6)),
            span(4, "gateway.buy", 3, (14.4, 22.5), symbol="R_100", state="confirmed"),
            span(5, "quota.wait", 4, (15.8, 15.9), call="buy", bucket="trade"),
            span(6, "order.settle", 4, (20.8, 1000.8), state="settled", contract_id="395"),
            span(7, "trade.follow", 1, (23.3, 1006.5)),
        ],
    )


def test_a_trade_is_a_tree_and_each_line_says_what_is_new() -> None:
    assert [line.plain for line in trace_lines(a_trade())] == [
        "order over-4:R_100:1:0 on demo",
        "trade                   +0.0  1006.5 ms  bot      bot over-4  state settled  symbol R_100",
        "├─ trade.decide         +0.0     0.2 ms  bot",
        "├─ trade.buy            +3.5    20.1 ms  bot",
        "│  └─ gateway.buy      +14.4     8.1 ms  gateway  state confirmed",
        "│     ├─ quota.wait    +15.8     0.1 ms  gateway  bucket trade  call buy",
        "│     └─ order.settle  +20.8   980.0 ms  gateway  contract_id 395  state settled",
        "└─ trade.follow        +23.3   983.2 ms  bot",
    ]


def test_what_is_missing_is_said_and_what_is_left_is_shown() -> None:
    whole = a_trade()
    half = reports_pb2.Trace(account="demo", order_id="x", spans=[whole.spans[5], whole.spans[2], whole.spans[3]])
    head, *lines = [line.plain for line in trace_lines(half)]
    assert head == "order x on demo, spans are missing"
    assert [line.split("  +")[0].rstrip() for line in lines] == ["trade.buy", "└─ gateway.buy", "   └─ order.settle"]
    assert len(trace_lines(reports_pb2.Trace(order_id="x"))) == 1


def test_an_error_stands_on_its_line_once() -> None:
    refused = span(1, "gateway.buy", error="LIMIT_REACHED", error_code="LIMIT_REACHED", state="denied")
    (_, line) = trace_lines(reports_pb2.Trace(complete=True, spans=[refused]))
    assert line.plain.endswith("state denied  error LIMIT_REACHED")
    assert line.plain.count("LIMIT_REACHED") == 1


async def test_the_command_shows_the_newest_or_the_one_that_is_named(fleet: Fleet) -> None:
    fleet.reports.trace.CopyFrom(a_trade())
    plain = await fleet.run("trace")
    assert plain.exit_code == 0
    assert "│     └─ order.settle  +20.8   980.0 ms" in plain.stdout
    assert (await fleet.run("trace", "over-4:R_100:1:0")).stdout == plain.stdout
    told = json.loads((await fleet.run("trace", "--json")).stdout)
    assert [one["name"] for one in told["spans"]][:2] == ["trade", "trade.decide"]


async def test_an_order_without_spans_is_one_line_that_says_where_to_look(fleet: Fleet) -> None:
    result = await fleet.run("trace", "nobody")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "derivfleet: no span of nobody has arrived; `derivfleet orders` lists what there is"
    ]
