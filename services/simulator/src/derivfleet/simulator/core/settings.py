"""How the simulated service behaves. Every default that nobody has verified on the live service says so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from derivfleet.deriv.categories.digits import DIGITS
from derivfleet.deriv.categories.rise_fall import CALLPUT, CALLPUTEQUAL
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.pricing import PriceSettings
from derivfleet.deriv.vocabulary import Call, Dialect  # noqa: TC001 - pydantic needs them at run time
from derivfleet.simulator.core.faults import FaultKind, FaultRule
from derivfleet.simulator.core.windows import WindowKind

if TYPE_CHECKING:
    from derivfleet.deriv.limits import LimitsTable

__all__ = ["FaultSettings", "SimulatorSettings"]

Whole = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[Decimal, Field(ge=0, lt=Decimal("0.5"))]


class FaultSettings(BaseModel):
    """A fault as JSON or YAML; see FaultRule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    call: Call | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1)] | None = None
    skip: Annotated[int, Field(ge=0)] = 0
    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    code: Annotated[str, Field(pattern=r"^\w{1,64}$")] = "InternalServerError"
    abrupt: bool = True
    after_s: Seconds = 0.0
    lasts_s: Seconds | None = None

    @property
    def rule(self) -> FaultRule:
        """The same for the exchange."""
        return FaultRule(**self.model_dump())


class SimulatorSettings(BaseModel):
    """How the simulated service behaves.

    Numbers in brackets are sections of the wire reference that the defaults come from. "Assumed" means that no source
    says so for certain.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Limits (7). The counters are keyed by app and account in both dialects; for the current one that is assumed.
    window_kind: WindowKind = WindowKind.FIXED_FROM_FIRST_HIT
    """Second-hand for legacy, assumed for the current dialect."""
    count_refused: bool = True
    """Whether refused calls count too. Second-hand for legacy, assumed for the current dialect."""
    limits: dict[Dialect, dict[str, dict[Literal[60, 3600], Whole]]] = {}
    """Bucket sizes that differ from the table, as {dialect: {bucket: {60: n, 3600: n}}}. The table's legacy buckets
    virtual_buy and virtual_sell are assumed."""
    streams_per_connection: Whole = 100
    """An older page; the current one does not say. Assumed for legacy too."""
    connections_per_user: Whole = 4
    """An older text says 5, so one less. Assumed for legacy too."""

    # Sockets (3).
    otp_valid_s: Seconds = 120
    """Documented."""
    idle_close_s: Seconds = 120
    """Second-hand for legacy, assumed for the current dialect."""
    proposal_valid_s: Seconds = 60
    """How long a proposal's id can be bought. Assumed; not documented (10)."""

    frame_cap_bytes: Whole = 600_000
    """The longest answer (2), second-hand. What is longer is refused with ResponseTooLarge; that code is assumed."""
    clock_skew_s: Annotated[float, Field(ge=-3600, le=3600)] = 0.0
    """How far the service's clock is ahead of everybody else's."""

    # Accounts.
    account_type: Literal["demo", "real"] = "demo"
    options_account: Annotated[str, Field(pattern=r"^[A-Z]{2,4}[0-9]{1,10}$")] = "DOT90000001"
    legacy_account: Annotated[str, Field(pattern=r"^[A-Z]{2,4}[0-9]{1,10}$")] = "VRTC90000001"
    currency: Literal["USD"] = "USD"
    start_balance: Annotated[Decimal, Field(ge=0, decimal_places=2)] = Decimal("10000.00")
    scopes: frozenset[str] = frozenset({"read", "trade"})

    # Contracts (9).
    commission_rise_fall: Share = Decimal("0.012")
    """Reproduces captures of 2023, 2024 and 2026."""
    commission_digits: Share = Decimal("0.010")
    """Reproduces captures of 2024; a demo capture of 2025 paid as if it were 0.017."""
    markup: Share = Decimal(0)
    minimum_stake: Annotated[Decimal, Field(gt=0)] | None = None
    """Of every category; each has its own where this is empty, and so has the next."""
    maximum_payout: Annotated[Decimal, Field(gt=0)] | None = None
    settlement_delay_s: Annotated[int, Field(ge=0)] = 0
    """How long after its exit tick a contract is booked. The same second in captures; up to 2 seen, more is a fault."""
    statement_lag_s: Annotated[int, Field(ge=0)] = 0
    """How long statement and profit_table do not show a movement. Not known (12)."""

    # Histories (5.3).
    history_ticks: Whole = 5000
    """Hard cap on ``count``; observed by third parties."""
    history_candles: Whole = 1000
    """The same for candles. Ours, for the time that they take to compute; the service's is that of ticks."""
    history_days: Whole = 365
    """A range further back silently gives the latest ticks; observed by third parties."""

    # What goes wrong (14), from the start; more can be added while it runs.
    faults: tuple[FaultSettings, ...] = ()

    def limits_of(self, name: Dialect) -> LimitsTable:
        """The limits table of a dialect with what these settings change."""
        table = dialect(name).limits
        buckets = dict(table.buckets)
        for bucket, windows in self.limits.get(name, {}).items():
            buckets[bucket] = replace(buckets[bucket], windows=MappingProxyType({**buckets[bucket].windows, **windows}))
        return replace(
            table,
            buckets=MappingProxyType(buckets),
            streams=replace(table.streams, per_connection=self.streams_per_connection),
            connections_per_user=self.connections_per_user,
        )

    @property
    def prices(self) -> PriceSettings:
        """What pricing needs of these."""
        return PriceSettings(
            commissions={
                CALLPUT.name: self.commission_rise_fall,
                CALLPUTEQUAL.name: self.commission_rise_fall,
                DIGITS.name: self.commission_digits,
            },
            markup=self.markup,
            minimum_stake=self.minimum_stake,
            maximum_payout=self.maximum_payout,
        )

    def unknown_bucket(self) -> str | None:
        """The first bucket named under ``limits`` that its dialect does not have."""
        for name, buckets in self.limits.items():
            for bucket in buckets:
                if bucket not in dialect(name).limits.buckets:
                    return f"limits.{name}.{bucket}"
        return None
