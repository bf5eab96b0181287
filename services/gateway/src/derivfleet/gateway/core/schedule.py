"""Who calls next: a turn within the account's limits and the bot's share, or a refusal at once.

A turn is a reservation: the call is counted at the instant at which it may start, and its holder waits until then. So
nobody is woken in vain, and a caller who would miss its deadline learns it immediately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.gateway.core.limits import CallLimits, WindowUse, name_of, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call

__all__ = ["GATEWAY", "Refusal", "Schedule", "Turn"]

GATEWAY = "gateway"
"""The holder of the calls that the gateway makes for itself: streams, settlement, reconciling."""

OWN_PART = 0.1
"""Part of every limit kept for the gateway itself, so that bots can never starve settlement and reconciling."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to start one call at ``start_ns``."""

    bot: str
    call: Call
    bucket: str
    start_ns: int
    asked_ns: int
    binding: str
    """The window that made it wait, as ``trade/60s``; empty if none did."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call could not start before its deadline. Nothing was counted."""

    bucket: str
    wait_ns: int
    binding: str


class Schedule:
    """The turns of one account.

    Each bot's share of a limit is its weight's part of what the gateway leaves; shares are not lent yet.
    """

    def __init__(self, table: LimitsTable, headroom: float, weights: Mapping[str, float], margin_s: float) -> None:
        self.table = table
        self._headroom = headroom
        self._total = sum(weights.values())
        self._weights = dict(weights)
        self._account = CallLimits(table, scaled(table, headroom), margin_s)
        self._shares = {
            bot: CallLimits(table, scaled(table, self._part(weight)), margin_s) for bot, weight in weights.items()
        }

    def _part(self, weight: float) -> float:
        return self._headroom * (1 - OWN_PART) * weight / self._total

    def reserve(self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None) -> Turn | Refusal:
        """Ask for a turn not later than a deadline; None waits as long as it takes."""
        start_ns, binding = self._fitting(bot, call, now_ns)
        bucket = name_of(self.table, call)
        if deadline_ns is not None and start_ns > deadline_ns:
            return Refusal(bucket, start_ns - now_ns, binding)
        for limits in self._holders(bot):
            limits.spend(call, start_ns, now_ns)
        return Turn(bot, call, bucket, start_ns, now_ns, binding)

    def give_back(self, turn: Turn) -> None:
        """The call will not be made."""
        for limits in self._holders(turn.bot):
            limits.give_back(turn.call, turn.start_ns)

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        """Deriv counts differently than we do; make its bucket rest."""
        self._account.refused(call, now_ns)

    def adopt(self, table: LimitsTable) -> None:
        """The server has told its limits."""
        self.table = table
        self._account.adopt(table, scaled(table, self._headroom))
        for bot, limits in self._shares.items():
            limits.adopt(table, scaled(table, self._part(self._weights[bot])))

    def forecast(self, bot: str, call: Call, now_ns: int) -> tuple[int, int, str]:
        """For the next call of a kind: how many could start now, its wait in ns, and the window that binds."""
        start_ns, binding = self._fitting(bot, call, now_ns)
        remaining = min(limits.remaining(call, now_ns) for limits in self._holders(bot))
        return remaining, start_ns - now_ns, binding

    def use(self, now_ns: int) -> list[WindowUse]:
        """The account's windows."""
        return self._account.use(now_ns)

    def share_use(self, now_ns: int) -> dict[str, list[WindowUse]]:
        """Each bot's windows."""
        return {bot: limits.use(now_ns) for bot, limits in self._shares.items()}

    def _holders(self, bot: str) -> list[CallLimits]:
        """Whose windows a bot's call counts in: its own and the account's. The gateway has only the latter."""
        share = self._shares.get(bot)
        return [self._account] if share is None else [self._account, share]

    def _fitting(self, bot: str, call: Call, at_ns: int) -> tuple[int, str]:
        start_ns, binding = at_ns, ""
        holders = self._holders(bot)
        moved = True
        while moved:
            moved = False
            for limits in holders:
                fitting_ns, window = limits.earliest_ns(call, start_ns)
                if fitting_ns > start_ns:
                    start_ns, binding, moved = fitting_ns, window, True
        return start_ns, binding
