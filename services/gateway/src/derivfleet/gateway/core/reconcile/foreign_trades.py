"""Trades on the account that are not the fleet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["COUNTS_S", "ForeignTrade"]

COUNTS_S = 600
"""How long before and after a foreign trade the like of it is not matched blindly."""


class ForeignTrade(NamedTuple):
    """A contract that no order of the fleet is about. ``symbol`` is empty, ``price`` None if that was not told."""

    contract_id: int
    symbol: str
    price: Decimal | None
    epoch_s: int
