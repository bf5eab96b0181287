"""A bot that the fleet file caps keeps to it, and nobody beside it notices."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

from running_fleet import RunningFleet, one_bot, running_fleet

if TYPE_CHECKING:
    from pathlib import Path

SPEED = 15
CAP = 3
WINDOW_S = 60
LASTS_S = 125
"""Fleet time: room for three minutes' purchases, if the cap were not kept."""


async def purchases(fleet: RunningFleet) -> dict[str, list[int]]:
    """Bot → the epochs at which the simulator sold it something, in order."""
    bots = {order.contract_id: order.bot for order in await fleet.orders() if order.contract_id}
    found: dict[str, list[int]] = {}
    for contract in (await fleet.account_in_ledger())["contracts"]:
        found.setdefault(bots[contract["contract_id"]], []).append(contract["purchase_time"])
    return {bot: sorted(epochs) for bot, epochs in found.items()}


async def test_a_capped_bot_keeps_to_its_cap_and_slows_nobody(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "alone").mkdir()
    bots = [one_bot("capped", caps={"buy": CAP}), one_bot("free")]
    async with (
        running_fleet(tmp_path / "beside", bots=bots, running=("capped", "free"), speed=SPEED) as beside,
        running_fleet(tmp_path / "alone", bots=[one_bot("free")], running=("free",), speed=SPEED) as alone,
    ):
        await beside.clock.sleep(LASTS_S)
        await asyncio.gather(beside.stop_bots(), alone.stop_bots())
        both, single = await purchases(beside), await purchases(alone)
    capped = both["capped"]
    assert len(capped) > CAP  # it goes on when it may
    assert all(later - earlier >= WINDOW_S for earlier, later in zip(capped, capped[CAP:], strict=False))
    # At the same time on the same machine, one with a capped neighbour and one without trade alike.
    assert len(single["free"]) > LASTS_S / 4
    assert len(both["free"]) >= 0.9 * len(single["free"])
    # Nor did it ever stand still for longer than the other.
    longest = [max(later - earlier for earlier, later in pairwise(epochs)) for epochs in (both["free"], single["free"])]
    assert longest[0] <= longest[1] + WINDOW_S / 6
