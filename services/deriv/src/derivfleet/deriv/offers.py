"""What ``contracts_for`` lists: the contracts of all categories on a symbol, and how long they may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.categories import registry

if TYPE_CHECKING:
    from derivfleet.deriv.categories.category import Category, ContractType, Span

__all__ = ["Offer", "offers_of"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to trade a type."""

    category: Category
    contract_type: ContractType
    symbol: str
    span: Span


def offers_of(symbol: str) -> tuple[Offer, ...]:
    """All offers on a symbol. They are the same for every symbol of this package."""
    return tuple(
        Offer(category, kind, symbol, span)
        for category in registry.CATEGORIES
        for kind in category.types
        for span in category.spans
    )
