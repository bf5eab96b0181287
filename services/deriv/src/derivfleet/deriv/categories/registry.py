"""Which categories there are, and which of them a contract type belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.categories.digits import DIGITS
from derivfleet.deriv.categories.rise_fall import CALLPUT, CALLPUTEQUAL

if TYPE_CHECKING:
    from derivfleet.deriv.categories.category import Category

__all__ = ["CATEGORIES", "category_of", "contract_types", "find"]

CATEGORIES: tuple[Category, ...] = (CALLPUT, CALLPUTEQUAL, DIGITS)
"""All that are traded, in the order of the catalogue."""


def find(contract_type: str) -> Category | None:
    """The category of a contract type; None if it is not traded."""
    for category in CATEGORIES:
        for kind in category.types:
            if kind.name == contract_type:
                return category
    return None


def category_of(contract_type: str) -> Category:
    """The category of a contract type. KeyError if it is not traded."""
    category = find(contract_type)
    if category is None:
        raise KeyError(contract_type)
    return category


def contract_types() -> list[str]:
    """All contract types that are traded, in the order of the catalogue."""
    return [kind.name for category in CATEGORIES for kind in category.types]
