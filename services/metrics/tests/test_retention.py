from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.otlp import SpanRecord
    from derivfleet.metrics.store import Store

    MakeSpan = Callable[..., SpanRecord]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def test_what_is_too_old_goes_within_the_hour(
    store: Store, clock: ManualClock, make_span: MakeSpan, eventually: Eventually
) -> None:
    day_ns = 86_400 * NS_PER_S
    now_ns = clock.now_ns()
    ends = [now_ns - 8 * day_ns, now_ns - 7 * day_ns + 1_800 * NS_PER_S, now_ns]
    await store.keep_spans(
        [make_span(number + 1, "trade", start_ns=1, end_ns=end_ns) for number, end_ns in enumerate(ends)]
    )

    async def left() -> int:
        return await store.period("demo", 0, now_ns + 1, lambda rows: len(list(rows.spans)))

    async def young_ones_left() -> bool:
        return await left() == 2

    async def one_left_later() -> bool:
        await clock.advance(3_600)
        return await left() == 1

    job = asyncio.create_task(Retention(store, clock, span_days=7, order_days=400).run())
    await eventually(young_ones_left)
    await eventually(one_left_later)
    job.cancel()
