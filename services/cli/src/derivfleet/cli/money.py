"""Money: decimal strings of the services' messages, read and shown."""

from __future__ import annotations

from decimal import Decimal

from rich.text import Text

__all__ = ["amount", "decimal_of", "money"]


def decimal_of(text: str) -> Decimal:
    """A decimal string; 0 for an empty one, which means "nothing yet"."""
    return Decimal(text or "0")


def money(value: Decimal) -> Text:
    """An amount with its sign, green or red."""
    return Text(f"{value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "dim")


def amount(text: str) -> str:
    """A decimal string with two decimals at least; ``?`` for an empty one."""
    if not text:
        return "?"
    value = Decimal(text)
    return f"{value:.2f}" if value == round(value, 2) else f"{value:f}"
