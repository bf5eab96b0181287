"""A terminal or a pipe to print on."""

from __future__ import annotations

from rich.console import Console

__all__ = ["open_console"]

_PIPE_WIDTH = 180


def open_console() -> Console:
    """Standard output as a console. A pipe or a log has no width, so there nothing is cut to fit one."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)
