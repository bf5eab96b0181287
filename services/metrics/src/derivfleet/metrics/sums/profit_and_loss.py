"""What orders add up to: money, wins, drawdown and exposure of a piece of time, in sums that merge in order. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "BOT",
    "EMPTY",
    "FLEET",
    "STRATEGY",
    "SYMBOL",
    "OpenStake",
    "OrderSums",
    "ProfitAndLoss",
    "Settlement",
    "exposure_of",
    "profit_and_loss_of",
    "wilson",
]

_ZERO = Decimal(0)
_Z = 1.959963984540054
"""Of a normal distribution, 95 % lie within this many standard deviations."""


@dataclass(frozen=True, slots=True)
class ProfitAndLoss:
    """One piece of time. ``low`` and ``high`` are the lowest and highest running profit since its beginning (0 at most,
    at least), ``drawdown`` the deepest fall below an earlier peak. ``held`` is money times seconds, ``peak`` the most
    money that was at stake at once. ``untraced`` are settled orders that no span of the gateway names.
    """

    buys: int = 0
    settled: int = 0
    wins: int = 0
    profit: Decimal = _ZERO
    staked: Decimal = _ZERO
    low: Decimal = _ZERO
    high: Decimal = _ZERO
    drawdown: Decimal = _ZERO
    held: Decimal = _ZERO
    peak: Decimal = _ZERO
    untraced: int = 0
    untraced_profit: Decimal = _ZERO
    untraced_staked: Decimal = _ZERO
    strays: int = 0
    strays_profit: Decimal = _ZERO
    strays_staked: Decimal = _ZERO

    @property
    def win_rate(self) -> float:
        """Wins / settled; 0 if nothing settled."""
        return self.wins / self.settled if self.settled else 0.0

    def then(self, later: ProfitAndLoss) -> ProfitAndLoss:
        """This piece and the one right after it as one."""
        return ProfitAndLoss(
            buys=self.buys + later.buys,
            settled=self.settled + later.settled,
            wins=self.wins + later.wins,
            profit=self.profit + later.profit,
            staked=self.staked + later.staked,
            low=min(self.low, self.profit + later.low),
            high=max(self.high, self.profit + later.high),
            drawdown=max(self.drawdown, later.drawdown, self.high - (self.profit + later.low)),
            held=self.held + later.held,
            peak=max(self.peak, later.peak),
            untraced=self.untraced + later.untraced,
            untraced_profit=self.untraced_profit + later.untraced_profit,
            untraced_staked=self.untraced_staked + later.untraced_staked,
            strays=self.strays + later.strays,
            strays_profit=self.strays_profit + later.strays_profit,
            strays_staked=self.strays_staked + later.strays_staked,
        )

    def body(self) -> str:
        """As it is stored: what is nothing is left out."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(
            {name: f"{one:f}" if isinstance(one, Decimal) else one for name, one in values.items() if one},
            separators=(",", ":"),
        )

    @classmethod
    def of(cls, body: str) -> ProfitAndLoss:
        values: dict[str, str | int] = json.loads(body)
        return cls(**{name: Decimal(one) if isinstance(one, str) else one for name, one in values.items()})  # pyright: ignore[reportArgumentType] - as body() wrote it


EMPTY = ProfitAndLoss()

FLEET, BOT, SYMBOL, STRATEGY = "fleet", "bot", "symbol", "strategy"
"""What sums are made for; the name of the fleet's is empty."""

OrderSums = dict[tuple[str, str], ProfitAndLoss]
"""By (scope, name)."""


class Settlement(NamedTuple):
    """An order that settled in the piece."""

    bot: str
    symbol: str
    profit: Decimal
    staked: Decimal
    traced: bool


class OpenStake(NamedTuple):
    """Money that was at stake for some of the piece; both times lie within it."""

    from_ns: int
    to_ns: int
    amount: Decimal


def profit_and_loss_of(settled: Iterable[Settlement], buys: int, open_stakes: Sequence[OpenStake]) -> ProfitAndLoss:
    """Sum up a piece; ``settled`` in the order of settlement."""
    count = wins = untraced = 0
    profit = staked = low = high = drawdown = untraced_profit = untraced_staked = _ZERO
    for one in settled:
        count += 1
        wins += one.profit > 0
        profit += one.profit
        staked += one.staked
        low, high = min(low, profit), max(high, profit)
        drawdown = max(drawdown, high - profit)
        if not one.traced:
            untraced += 1
            untraced_profit += one.profit
            untraced_staked += one.staked
    held, peak = exposure_of(open_stakes)
    return ProfitAndLoss(
        buys=buys,
        settled=count,
        wins=wins,
        profit=profit,
        staked=staked,
        low=low,
        high=high,
        drawdown=drawdown,
        held=held,
        peak=peak,
        untraced=untraced,
        untraced_profit=untraced_profit,
        untraced_staked=untraced_staked,
    )


def exposure_of(open_stakes: Sequence[OpenStake]) -> tuple[Decimal, Decimal]:
    """Money times seconds, and the most money at once. What ends and what begins at one instant do not meet."""
    held = sum((one.amount * (one.to_ns - one.from_ns) for one in open_stakes), _ZERO) / 1_000_000_000
    changes = [(one.from_ns, 1, one.amount) for one in open_stakes] + [
        (one.to_ns, 0, -one.amount) for one in open_stakes
    ]
    now = peak = _ZERO
    for _, _, amount in sorted(changes):
        now += amount
        peak = max(peak, now)
    return held, peak


def wilson(wins: int, settled: int) -> tuple[float, float]:
    """The interval that contains the true win rate with 95 % confidence (E. B. Wilson, 1927); 0 to 1 of nothing."""
    if not settled:
        return 0.0, 1.0
    rate, square = wins / settled, _Z * _Z
    middle = (rate + square / (2 * settled)) / (1 + square / settled)
    half = _Z / (1 + square / settled) * sqrt(rate * (1 - rate) / settled + square / (4 * settled * settled))
    return max(0.0, middle - half), min(1.0, middle + half)
