"""Two virtual days, one of 25 hours, against the oracle; ``make oracle`` is the whole week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from oracle.comparison import Comparison
from oracle.delivery import Delivery
from oracle.generator import Generator

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_figure_of_two_days_equals_the_oracles(tmp_path: Path) -> None:
    generator = Generator(seed=7, hours=50, orders_an_hour=6)
    delivery = Delivery(generator, tmp_path, seed=7)
    service = await delivery.deliver()
    comparison = Comparison(generator, service)
    await comparison.compare()
    assert delivery.resent > 50
    assert delivery.late > 20
    assert comparison.revised > 20
    assert comparison.figures > 10_000
    # The comparison is no rubber stamp: one cent or one span beside the truth, and it objects.
    generator.record.execute(
        "UPDATE orders SET profit = profit + 1 "
        "WHERE id = (SELECT id FROM orders WHERE told AND NOT denied ORDER BY settled_ns LIMIT 1)"
    )
    with pytest.raises(AssertionError):
        await Comparison(generator, service).compare()
    await service.store.close()
