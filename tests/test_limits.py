"""Limits that are lower than published, and calls that say nothing about how long they may wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Call, Dialect
from tests.virtual_gateway import virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

BUCKETS = {Dialect.OPTIONS: "trade", Dialect.LEGACY: "virtual_buy"}
MINUTES, LEARNED_AFTER = 8, 3


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="one refusal a minute for ever: Deriv's real limit is not kept"
)
@pytest.mark.parametrize("dialect", list(Dialect))
@virtual_time
async def test_a_limit_far_below_the_published_one_is_learned(tmp_path: Path, dialect: Dialect) -> None:
    limits = {dialect: {BUCKETS[dialect]: {60: 20}}}
    async with virtual_gateway(tmp_path, dialect, limits=limits) as fleet:
        counts = fleet.deriv.exchange.counts
        refused_before = 0
        for second in range(MINUTES * 60):
            if second == LEARNED_AFTER * 60:
                refused_before = counts.refused[Call.BUY]
            await fleet.problem(fleet.buy(f"o{second}", deadline_s=5))
            await asyncio.sleep(1)
        assert counts.accepted[Call.BUY] > 0.7 * 20 * MINUTES
        assert counts.refused[Call.BUY] - refused_before == 0


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("deadline_s", [1.0, None])
@virtual_time
async def test_a_call_that_would_wait_for_a_minute_is_refused_at_once(
    tmp_path: Path, dialect: Dialect, deadline_s: float | None
) -> None:
    account = {"limits": {"windows": {BUCKETS[dialect]: {60: 6}}}}
    async with virtual_gateway(tmp_path, dialect, account=account) as fleet:
        for number in range(6):
            await fleet.problem(fleet.buy(f"o{number}", deadline_s=2))
        began_s = fleet.clock.now_s()
        problem = await fleet.problem(fleet.buy("late", deadline_s=deadline_s))
        assert problem is not None
        assert problem.reason == "LIMIT_REACHED"
        assert problem.retry_after_s is not None
        assert problem.retry_after_s > 30
        assert fleet.clock.now_s() - began_s < 0.5
