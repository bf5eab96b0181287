"""The fleet file: accounts, limits and bots in one YAML document. Secrets are never in it.

``derivfleet up`` runs it as local processes; each service reads the part that concerns it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from derivfleet.common.alert_rules import Alerts
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.strategy_parameters import STRATEGY_NAMES, StrategyParameters
from derivfleet.common.validation import first_problem

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CAPPED_CALLS", "Account", "Bot", "CappedCall", "Fleet", "Limits", "Supabase", "load_fleet"]

CappedCall = Literal["buy", "proposal", "proposal_open_contract", "sell", "ticks", "ticks_history"]
"""The kinds of call that bots can cause, as Deriv names them."""
CAPPED_CALLS: tuple[CappedCall, ...] = get_args(CappedCall)
WINDOWS_S = (60, 3600)
LONGEST_COMPLAINT = 500
"""Characters."""
MOST_BYTES = 1_000_000
"""Of a fleet file: a thousand bots take a quarter of it, and ten seconds to read."""

Calls = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""A DNS label, so that the same name serves as a pod's."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """How much of Deriv's limits the gateway allows itself."""

    headroom: float = Field(default=0.95, gt=0, le=1)
    """Part of each published limit that is used; the rest covers what is not published."""
    fastest_answer_ms: float = Field(default=0, ge=0, le=1_000)
    """No answer of Deriv comes sooner after its call, as `derivfleet probe` measures it: the line takes so long.
    Calls cease to count by so much earlier. An answer that is faster lowers it at once."""
    clock_drift_ppm: float = Field(default=200, ge=0, le=10_000)
    """Millionths by which Deriv's clock may run slower than this machine's: windows are kept longer by so much. Two
    free quartz clocks stay within 200; where both are kept right by NTP, 100 is plenty."""
    windows: dict[str, dict[Literal[60, 3600], Calls]] = {}
    """Limits that differ from the published ones, as `derivfleet probe` measures them: {bucket: {60: n, 3600: n}}. What
    a legacy server tells of itself can only be lowered."""
    streams_per_connection: int = Field(default=0, ge=0, le=10_000)
    """How many streams one socket may hold; 0 takes the published number."""
    connections: int = Field(default=0, ge=0, le=100)
    """How many sockets the account may have; 0 takes the published number."""

    @field_validator("windows", mode="before")
    @classmethod
    def _windows_have_known_lengths(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            bucket: _by_length(bucket, cast("dict[Any, Any]", calls)) if isinstance(calls, dict) else calls
            for bucket, calls in cast("dict[Any, Any]", value).items()
        }


def _by_length(bucket: Any, calls: dict[Any, Any]) -> dict[Any, Any]:
    """Windows by their length as a number: in JSON, and so in a chart's values, every key is a text."""
    for length_s in calls:
        if str(length_s) not in map(str, WINDOWS_S):
            raise ValueError(f"{bucket} has a window of {length_s!r} seconds; known are 60 and 3600")
    return {int(length_s): count for length_s, count in calls.items()}


class Account(_Part):
    """One Deriv account. Its token and app id come from the environment."""

    key: Name = "demo"
    dialect: Literal["auto", "options", "legacy"] = "auto"
    """auto: a numeric app id is a legacy one, any other belongs to the options API."""
    login_id: str = ""
    """Which account of the token, as DOT90000001; empty takes the only demo account."""
    currency: str = "USD"
    limits: Limits = Limits()


class Bot(_Part):
    """One bot: a strategy on some symbols."""

    name: Name
    account: str = ""
    """Key of the account; empty takes the only one."""
    symbols: tuple[str, ...] = Field(min_length=1)
    parameters: StrategyParameters
    stake: Decimal = Field(default=Decimal("0.35"), gt=0, max_digits=12, decimal_places=2)
    pause_ticks: int = Field(default=0, ge=0, le=10_000)
    """Ticks to let pass on a symbol after a trade before the next decision."""
    weight: float = Field(default=1.0, gt=0, le=1000)
    """Its share of the account's limits, relative to the other bots."""
    replicas: int = Field(default=1, ge=1, le=100)
    """Processes that divide the bot's symbols among themselves."""
    caps: dict[CappedCall, Annotated[int, Field(ge=1, le=10_000)]] = {}
    """The most calls of a kind that it may make a minute, whatever its share would allow."""

    @model_validator(mode="before")
    @classmethod
    def _strategy_beside_parameters(cls, data: Any) -> Any:
        """In the file the strategy's name stands beside its parameters; in the model it tells their type."""
        if not isinstance(data, dict):
            return data
        rest = dict(cast("dict[str, Any]", data))
        name = rest.pop("strategy", None)
        if name is None:
            return rest
        if name not in STRATEGY_NAMES:
            raise ValueError(f"strategy: unknown strategy {name!r}; known are {', '.join(STRATEGY_NAMES)}")
        parameters: object = rest.get("parameters") or {}
        if isinstance(parameters, dict):
            rest["parameters"] = {**cast("dict[str, Any]", parameters), "strategy": name}
        return rest

    @field_validator("stake", mode="before")
    @classmethod
    def _stake_is_exact(cls, value: Any) -> Any:
        # YAML reads 0.35 as a binary fraction; its shortest text is what the author wrote.
        return str(value) if isinstance(value, float) else value

    @field_validator("caps", mode="before")
    @classmethod
    def _caps_name_known_calls(cls, value: Any) -> Any:
        named = list(cast("dict[Any, Any]", value)) if isinstance(value, dict) else []
        for call in named:
            if call not in CAPPED_CALLS:
                raise ValueError(f"unknown call {call!r}; known are {', '.join(CAPPED_CALLS)}")
        return cast("Any", value)

    @field_validator("symbols")
    @classmethod
    def _symbols_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            if value.count(symbol) > 1:
                raise ValueError(f"symbol {symbol} is listed twice")
        return value


class Supabase(_Part):
    """How the store is copied to Supabase, once SUPABASE_URL and SUPABASE_SERVICE_KEY are in the environment."""

    every_s: int = Field(default=5, ge=1, le=3600)
    """How often what is new is looked for."""
    batch_rows: int = Field(default=500, ge=1, le=5000)
    """The most rows in one request."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):
        raise ValueError(f"unknown time zone {name!r}: must be like Europe/Berlin or UTC") from None
    return name


class Fleet(_Part):
    """The whole file."""

    fleet: Name = "fleet"
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Whose midnight ends a day in reports: a name of the IANA database, as Europe/Berlin."""
    accounts: tuple[Account, ...] = Field(default=(Account(),), min_length=1, max_length=1)
    bots: tuple[Bot, ...] = Field(min_length=1)
    alerts: Alerts = Alerts()
    supabase: Supabase = Supabase()

    @model_validator(mode="after")
    def _names_fit(self) -> Fleet:
        keys = [account.key for account in self.accounts]
        seen: set[str] = set()
        for bot in self.bots:
            if bot.name in seen:
                raise ValueError(f"bots: the name {bot.name} is used twice")
            if bot.name in ("operator", "metrics", "gateway"):
                raise ValueError(f"bots: the name {bot.name} is taken by the fleet itself")
            seen.add(bot.name)
            if bot.account and bot.account not in keys:
                raise ValueError(f"bots: {bot.name}: account {bot.account!r} is not in accounts ({', '.join(keys)})")
        self.alerts.check_bots(seen.__contains__)
        return self

    def account_of(self, bot: Bot) -> Account:
        """The account that a bot trades on."""
        return next((account for account in self.accounts if account.key == bot.account), self.accounts[0])

    def bot(self, name: str) -> Bot:
        """One bot; raises ConfigurationError if there is none of that name."""
        for bot in self.bots:
            if bot.name == name:
                return bot
        raise ConfigurationError("bots", f"there is no bot {name!r} in the fleet file")


def load_fleet(path: Path, known_symbols: frozenset[str] | None = None) -> Fleet:
    """Read and check a fleet file.

    ``known_symbols`` (if given) are the only ones allowed. Raises ConfigurationError naming the key: an unknown key,
    a wrong type, an unknown strategy or symbol, a file that is not there or not YAML.
    """
    data = _read(path)
    if not isinstance(data, dict):
        raise ConfigurationError(str(path), "must be a mapping with the key `bots`")
    try:
        fleet = Fleet.model_validate(data)
    except ValidationError as error:
        key, message = first_problem(error)
        name = _readable(key, cast("dict[str, Any]", data))
        raise ConfigurationError(_line(f"{path.name}: {name}"), _line(message)) from None
    for bot in fleet.bots:
        for symbol in bot.symbols:
            if known_symbols is not None and symbol not in known_symbols:
                known = ", ".join(sorted(known_symbols))
                raise ConfigurationError(
                    f"{path.name}: bots.{bot.name}.symbols", f"unknown symbol {_line(symbol)}; known are {known}"
                )
    return fleet


def _read(path: Path) -> Any:
    """The document in a file. Raises ConfigurationError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigurationError(str(path), f"is larger than {MOST_BYTES // 1_000_000} MB: no fleet file is")
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is no text in UTF-8") from None
    # A run keeps its file as JSON, which is YAML too. So its processes need no library for it, which takes a megabyte.
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    import yaml  # noqa: PLC0415 - see above

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets its own mistakes through where a scalar is not what it looks or claims to be: 2026-13-45, !!int.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(str(path), _line(f"is not YAML{where}: {problem}")) from None


def _line(text: str) -> str:
    """A complaint that quotes what is in the file, which may be anything, as one line of a readable length."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_COMPLAINT else f"{text[:LONGEST_COMPLAINT]} …"


def _readable(key: str, data: dict[str, Any]) -> str:
    """``bots.3.stake`` → ``bots.over-r100.stake``; the strategy's tag between parameters and key is dropped."""
    parts = key.split(".")
    if parts[0] == "bots" and len(parts) > 1 and parts[1].isdigit():
        try:
            parts[1] = str(data["bots"][int(parts[1])]["name"])
        except (KeyError, TypeError, IndexError):
            parts[1] = f"[{parts[1]}]"
    return ".".join(part for part in parts if part not in STRATEGY_NAMES and part != "(all)") or "(all)"
