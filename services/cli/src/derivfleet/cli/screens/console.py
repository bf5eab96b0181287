"""A terminal or a pipe to print on, and how money looks there."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console
from rich.text import Text

__all__ = ["amount", "money", "open_console"]

_PIPE_WIDTH = 180


def open_console() -> Console:
    """Standard output as a console. A pipe or a log has no width, so there nothing is cut to fit one."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def money(value: Decimal) -> Text:
    """An amount with its sign, green or red."""
    return Text(f"{value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "dim")


def amount(text: str) -> str:
    """A decimal string with two decimals at least; ``?`` for an empty one."""
    if not text:
        return "?"
    value = Decimal(text)
    return f"{value:.2f}" if value == round(value, 2) else f"{value:f}"
