"""What a check finds: one line, and what all of them come to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.cli.errors import EXIT_FAILED
from derivfleet.common.errors import EXIT_CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CheckResult", "Mark", "exit_code_of"]


class Mark(StrEnum):
    """How a result is marked."""

    GOOD = "✓"
    BAD = "✗"
    NOTE = "·"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line. ``todo`` says what to do about it; ``is_configuration`` marks what a person must set."""

    mark: Mark
    what: str
    todo: str = ""
    is_configuration: bool = False

    @property
    def line(self) -> str:
        return f"{self.mark} {self.what}" + (f": {self.todo}" if self.todo else "")


def exit_code_of(results: Iterable[CheckResult]) -> int:
    """2 if something must be configured, 1 if anything else is wrong, else 0."""
    bad = [result for result in results if result.mark is Mark.BAD]
    if any(result.is_configuration for result in bad):
        return EXIT_CONFIGURATION
    return EXIT_FAILED if bad else 0
