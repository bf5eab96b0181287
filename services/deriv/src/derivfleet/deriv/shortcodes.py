"""Shortcodes: one line of text by which an account's records say what a contract is."""

from __future__ import annotations

from decimal import Decimal

from derivfleet.deriv.categories.registry import find
from derivfleet.deriv.terms import Shortcode

__all__ = ["parse"]


def parse(text: str) -> Shortcode | None:
    """Read a shortcode of a category that is traded; None for anything else, for it must never break a settlement."""
    contract_type = text.partition("_")[0]
    category = find(contract_type)
    found = None if category is None else category.form.fullmatch(text)
    if found is None:
        return None
    told = found.groupdict()
    ticks, expiry = told.get("ticks"), told.get("expiry")
    return Shortcode(
        contract_type=contract_type,
        symbol=found["symbol"],
        payout=Decimal(told.get("payout") or 0),
        start_s=int(found["start"]),
        duration_ticks=int(ticks) if ticks else None,
        expiry_s=int(expiry) if expiry else None,
        barrier=told.get("barrier"),
    )
