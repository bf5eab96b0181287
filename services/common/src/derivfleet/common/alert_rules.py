"""What the fleet file says of alerts: the rules that raise them, and where they are told."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BELOW", "CONDITIONS", "PER_BOT", "AlertRule", "Alerts", "Condition", "Telegram"]

Condition = Literal[
    "error_rate",
    "drawdown",
    "fleet_drawdown",
    "no_trades",
    "quota_unused",
    "unknown_orders",
    "bot_down",
    "gateway_down",
    "report_incomplete",
]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
PER_BOT: frozenset[Condition] = frozenset({"error_rate", "drawdown", "no_trades", "unknown_orders", "bot_down"})
"""What is looked at bot by bot; the others concern the account."""
BELOW: frozenset[Condition] = frozenset({"quota_unused"})
"""What is wrong when it is below its threshold; the others when they are above it."""
_SHARES: frozenset[Condition] = frozenset({"error_rate", "quota_unused", "report_incomplete"})
_DEFAULTS: dict[Condition, Decimal] = {
    "error_rate": Decimal("0.2"),
    "no_trades": Decimal(30),
    "quota_unused": Decimal("0.1"),
    "unknown_orders": Decimal(0),
    "bot_down": Decimal(60),
    "gateway_down": Decimal(30),
    "report_incomplete": Decimal("0.01"),
}
"""Drawdown is money, so what is too much of it is for its owner to say."""
_MOST = Decimal(10) ** 9

Seconds = Annotated[int, Field(ge=0, le=86_400)]
Amount = Annotated[Decimal, Field(ge=0, le=_MOST)]
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlertRule(_Part):
    """One rule: what is watched, from where on it is wrong, and for how long it must be."""

    name: RuleName
    when: Condition
    threshold: Amount | None = None
    """Beyond it something is wrong. Its unit follows from ``when``: docs/operate.md has the table."""
    clear: Amount | None = None
    """It is right again only beyond this; the threshold if not given."""
    for_s: Seconds = 0
    """It must be wrong for so long without a pause before the alert fires."""
    clear_for_s: Seconds = 60
    """And right for so long before it clears."""
    window_s: int = Field(default=300, ge=10, le=86_400)
    """How far back rates, drawdowns and shares look."""
    bots: tuple[str, ...] = ()
    """Only these; all if empty."""
    bucket: str = "trade"
    """For quota_unused: which of Deriv's limits."""
    least_calls: int = Field(default=10, ge=1, le=1_000_000)
    """For error_rate: with fewer calls in the window there is no rate to speak of."""

    @field_validator("threshold", "clear", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        # YAML reads 0.2 as a binary fraction; its shortest text is what the author wrote.
        return str(value) if isinstance(value, float) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> AlertRule:
        if self.threshold is None and self.when not in _DEFAULTS:
            raise ValueError(f"{self.name}: threshold is required for {self.when}")
        if self.when in _SHARES and max(self.limit, self.clears_at) > 1:
            raise ValueError(f"{self.name}: {self.when} is a share from 0 to 1, not {max(self.limit, self.clears_at)}")
        beyond = self.clears_at < self.limit if self.is_below else self.clears_at > self.limit
        if beyond:
            raise ValueError(f"{self.name}: clear must be on the good side of the threshold {self.limit}")
        if self.bots and self.when not in PER_BOT:
            raise ValueError(f"{self.name}: {self.when} concerns the account, so `bots` has no meaning")
        return self

    @property
    def limit(self) -> Decimal:
        """The threshold, given or default."""
        return _DEFAULTS[self.when] if self.threshold is None else self.threshold

    @property
    def clears_at(self) -> Decimal:
        """Where it is right again."""
        return self.limit if self.clear is None else self.clear

    @property
    def is_below(self) -> bool:
        """Whether too little is wrong, instead of too much."""
        return self.when in BELOW


class Telegram(_Part):
    """A chat to tell alerts to. The bot's token comes from the environment."""

    chat_id: str = Field(min_length=1, max_length=64)
    base_url: str = Field(default="https://api.telegram.org", pattern=r"^https?://[^\s/]+$")

    @field_validator("chat_id", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


class Alerts(_Part):
    """When people are told that something is wrong. The webhook's address is a secret, so it is not here."""

    every_s: int = Field(default=15, ge=1, le=3600)
    """How often the rules are looked at."""
    rules: tuple[AlertRule, ...] = Field(default=(), max_length=100)
    telegram: Telegram | None = None

    @field_validator("rules")
    @classmethod
    def _names_once(cls, value: tuple[AlertRule, ...]) -> tuple[AlertRule, ...]:
        names = [rule.name for rule in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the rule {name} is there twice")
        return value

    def check_bots(self, known: Callable[[str], bool]) -> None:
        """Raises ValueError if a rule names a bot that there is not."""
        for rule in self.rules:
            for bot in rule.bots:
                if not known(bot):
                    raise ValueError(f"alerts: rule {rule.name}: there is no bot {bot!r}")
