"""The strategies that a fleet file can name, and what each can be told. The bot service implements them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["STRATEGY_NAMES", "DigitFrequency", "MovingAverage", "StrategyParameters"]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitFrequency(_Parameters):
    """Bets that the last digit lies over (or under) a barrier when it has done so less often than chance would."""

    strategy: Literal["digit_frequency"] = "digit_frequency"
    side: Literal["over", "under"] = "over"
    barrier: int = Field(default=4, ge=0, le=9)
    window_ticks: int = Field(default=25, ge=5, le=1000)
    """How many past ticks are counted."""
    deficit: float = Field(default=0.0, ge=-1.0, le=1.0)
    """How far the observed share must be below the fair one: 0.05 trades when it is 5 points short, -1 always."""
    duration_ticks: int = Field(default=1, ge=1, le=10)

    @model_validator(mode="after")
    def _can_win(self) -> DigitFrequency:
        if (self.side == "over" and self.barrier == 9) or (self.side == "under" and self.barrier == 0):  # noqa: PLR2004 - the last digit
            raise ValueError(f"barrier {self.barrier} can never win {self.side}")
        return self

    def least_ticks(self) -> int:
        """How many past ticks a decision needs."""
        return self.window_ticks


class MovingAverage(_Parameters):
    """Bets on rise when the fast mean of prices is above the slow one, on fall when it is below."""

    strategy: Literal["moving_average"] = "moving_average"
    fast_ticks: int = Field(default=5, ge=2, le=500)
    slow_ticks: int = Field(default=20, ge=3, le=1000)
    duration_ticks: int = Field(default=5, ge=1, le=10)
    or_equal: bool = False
    """Buy CALLE and PUTE, which also win when the exit equals the entry, for a smaller payout."""

    @model_validator(mode="after")
    def _ordered(self) -> MovingAverage:
        if self.fast_ticks >= self.slow_ticks:
            raise ValueError(f"fast_ticks {self.fast_ticks} must be less than slow_ticks {self.slow_ticks}")
        return self

    def least_ticks(self) -> int:
        """How many past ticks a decision needs."""
        return self.slow_ticks


StrategyParameters = Annotated[DigitFrequency | MovingAverage, Field(discriminator="strategy")]
STRATEGY_NAMES = ("digit_frequency", "moving_average")
