"""Two virtual days, one of 25 hours, against the oracle; ``make oracle`` is the whole week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from oracle.journey import Journey
from oracle.judge import Judge
from oracle.world import World

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_figure_of_two_days_equals_the_oracles(tmp_path: Path) -> None:
    world = World(seed=7, hours=50, orders_an_hour=6)
    journey = Journey(world, tmp_path, seed=7)
    service = await journey.travel()
    judge = Judge(world, service)
    await judge.judge()
    assert journey.resent > 50
    assert journey.late > 20
    assert judge.revised > 20
    assert judge.figures > 10_000
    # The judge is no rubber stamp: one cent or one span beside the truth, and it objects.
    world.record.execute(
        "UPDATE orders SET profit = profit + 1 "
        "WHERE id = (SELECT id FROM orders WHERE told AND NOT denied ORDER BY settled_ns LIMIT 1)"
    )
    with pytest.raises(AssertionError):
        await Judge(world, service).judge()
    await service.store.close()
