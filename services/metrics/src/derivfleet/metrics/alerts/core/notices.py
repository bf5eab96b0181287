"""What people are told: what was told last, whether that is still true, and who asked not to be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.metrics.alerts.core.alert_state import AlertState

__all__ = ["LastNotice", "NoticeKind", "Silence", "is_silenced", "notice_due"]


class NoticeKind(StrEnum):
    """What there is to tell."""

    FIRED = "fired"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class LastNotice:
    """What was told last of one rule and bot: the alert that fired at ``fired_ns``, or nothing that goes on (0)."""

    fired_ns: int = 0

    def after(self, state: AlertState) -> LastNotice:
        """Once the notice that is due has been told."""
        return LastNotice(state.fired_ns if state.is_firing else 0)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is told of a rule and a bot until a time; an empty name means every one."""

    rule: str
    bot: str
    until_ns: int

    def covers(self, rule: str, bot: str, now_ns: int) -> bool:
        """Whether it holds for a rule and a bot now; the account itself is the bot with the empty name."""
        return now_ns < self.until_ns and self.rule in ("", rule) and self.bot in ("", bot)


def is_silenced(silences: Iterable[Silence], rule: str, bot: str, now_ns: int) -> bool:
    """Whether any of them holds."""
    return any(silence.covers(rule, bot, now_ns) for silence in silences)


def notice_due(state: AlertState, last: LastNotice, *, silenced: bool) -> NoticeKind | None:
    """What is to be told now, once; None if nothing has changed since, or while silence is asked for.

    An alert that fires on when its silence ends is told then. One that began and ended in silence never is. The end of
    one that had been told is told as soon as the silence is over.
    """
    if silenced:
        return None
    if state.is_firing:
        return NoticeKind.FIRED if last.fired_ns != state.fired_ns else None
    return NoticeKind.CLEARED if last.fired_ns else None
