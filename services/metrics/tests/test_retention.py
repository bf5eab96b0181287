from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.records.otlp import Received
    from derivfleet.metrics.records.span import SpanRecord
    from derivfleet.metrics.store.store import Store

    MakeSpan = Callable[..., SpanRecord]
    MakeExport = Callable[[Sequence[SpanRecord]], Received]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def test_what_is_too_old_goes_within_the_hour(
    store: Store, clock: ManualClock, make_span: MakeSpan, make_export: MakeExport, eventually: Eventually
) -> None:
    day_ns = 86_400 * NS_PER_S
    now_ns = clock.now_ns()
    ends = [now_ns - 8 * day_ns, now_ns - 7 * day_ns + 1_800 * NS_PER_S, now_ns]
    for number, end_ns in enumerate(ends):
        one = make_span(number + 1, "trade", order_id="o", start_ns=end_ns, end_ns=end_ns)
        await store.keep_spans([make_export([one])], end_ns)

    async def left() -> int:
        return len(await store.spans_of_order("demo", "o", 10))

    async def young_ones_left() -> bool:
        return await left() == 2

    async def one_left_later() -> bool:
        await clock.advance(3_600)
        await store.write(lambda _: None)  # its turn comes after that of what the hour has begun
        return await left() == 1

    job = asyncio.create_task(Retention(store, clock, span_days=7, order_days=400).run())
    await eventually(young_ones_left)
    await eventually(one_left_later)
    job.cancel()
    aggregates, _ = await store.sums("demo", now_ns // NS_PER_S - 9 * 86_400, now_ns // NS_PER_S + 60, now_ns, {})
    assert aggregates["over-4"].counts["spans"] == 3, "what was summed up stays"
