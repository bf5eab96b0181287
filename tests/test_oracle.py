"""Two virtual days, one of 25 hours, against the oracle; ``make oracle`` is the whole week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from oracle.delivery import Delivery
from oracle.ground_truth import GroundTruth
from oracle.report_check import ReportCheck

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_figure_of_two_days_equals_the_oracles(tmp_path: Path) -> None:
    truth = GroundTruth(seed=7, hours=50, orders_an_hour=6)
    delivery = Delivery(truth, tmp_path, seed=7)
    service = await delivery.deliver()
    check = ReportCheck(truth, service)
    await check.run()
    assert delivery.resent > 50
    assert delivery.late > 20
    assert check.revised > 20
    assert check.figures > 10_000
    # The check is no rubber stamp: one cent or one span beside the truth, and it objects.
    truth.record.execute(
        "UPDATE orders SET profit = profit + 1 "
        "WHERE id = (SELECT id FROM orders WHERE told AND NOT denied ORDER BY settled_ns LIMIT 1)"
    )
    with pytest.raises(AssertionError):
        await ReportCheck(truth, service).run()
    await service.store.close()
