"""The permit of one call, from asking to answer, and what its owner is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from derivfleet.deriv.vocabulary import Call

__all__ = ["Forecast", "Permit", "PermitDenied", "PermitState", "Rank", "ShareUse", "rank_of"]


class Rank(IntEnum):
    """How much hangs on a call; lower goes first. Within a bot all ranks count, between bots only the first two."""

    EXIT = 0
    """Closing or changing a position, and checks on which a settlement hangs."""
    RECONCILE = 1
    """Finding out what became of an order, and the streams that tell of it."""
    BUY = 2
    CHECK = 3
    QUOTE = 4
    HISTORY = 5
    """Everything that can be had later just as well."""


_RANKS = {
    Call.SELL: Rank.EXIT,
    Call.CANCEL: Rank.EXIT,
    Call.CONTRACT_UPDATE: Rank.EXIT,
    Call.BUY: Rank.BUY,
    Call.PROPOSAL_OPEN_CONTRACT: Rank.CHECK,
    Call.PORTFOLIO: Rank.CHECK,
    Call.STATEMENT: Rank.CHECK,
    Call.PROFIT_TABLE: Rank.CHECK,
    Call.BALANCE: Rank.CHECK,
    Call.PROPOSAL: Rank.QUOTE,
}


def rank_of(call: Call) -> Rank:
    """A call's rank if its caller names none."""
    return _RANKS.get(call, Rank.HISTORY)


class PermitState(StrEnum):
    WAITING = "waiting"
    GRANTED = "granted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DONE = "done"


@dataclass(slots=True, eq=False)
class Permit:
    """One call, from being asked for to its answer. Its owner reads it and hands it back, the quota changes it."""

    bot: str
    call: Call
    rank: Rank
    bucket: str
    """Empty for free calls."""
    asked_ns: int
    deadline_ns: int | None
    state: PermitState = PermitState.WAITING
    granted_ns: int = 0
    tier: int = 0
    block: int = 0
    binding: str = ""
    """The window that made it wait, as ``trade/60s``; empty if none did."""


@dataclass(frozen=True, slots=True)
class PermitDenied:
    """The call could not start before its deadline. Nothing was counted."""

    bucket: str
    wait_ns: int
    binding: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a bot may expect of its next call of a kind."""

    bucket: str
    remaining: int
    """Calls that could start now."""
    share: int
    """Calls of the bot's own share in the short window."""
    wait_ns: int
    binding: str


@dataclass(frozen=True, slots=True)
class ShareUse:
    """One bot's part of one window. Loans are those of the short window."""

    bot: str
    bucket: str
    window_s: int
    share: int
    used: int
    borrowed: int
    """Used beyond its share."""
    lent: int
    """Of its idle share, what others use."""
    waiting: int
