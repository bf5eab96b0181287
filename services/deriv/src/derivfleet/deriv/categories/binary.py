"""Rules that categories share whose contracts run for a duration and then pay all or nothing.

With ``p`` the fair probability of winning and ``c`` a commission, both as fractions of the payout: ask = payout × (p +
c + markup), bid = payout × (p_now - c), never below 0. At the money, with a driftless geometric Brownian motion and the
categories' commissions, this gives captured payouts and bids to the cent.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.categories.category import Ended, Span, form_of, refusal
from derivfleet.deriv.pricing import Bounds, Price, PriceSettings, cents
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.terms import UNIT_S, Shortcode, Terms, Timeline
from derivfleet.deriv.vocabulary import Basis, Call, ContractStatus, DurationUnit

if TYPE_CHECKING:
    from derivfleet.deriv.errors import RequestRefused
    from derivfleet.deriv.requests import ContractParameters

__all__ = [
    "FORM",
    "INTRADAY",
    "IN_TICKS",
    "Chance",
    "asked",
    "bid",
    "check_duration",
    "differing_term",
    "end_s",
    "ended",
    "exits",
    "greatest_loss",
    "price",
    "request",
    "shortcode_head",
    "timeline",
]

Chance = Callable[[Terms, float, Decimal | None, Decimal | None], Decimal]
"""The fair probability of winning, from 0 to 1: terms, seconds that are left, spot, strike (None: at the money)."""

MAXIMUM_TICKS = 10
"""Digits: documented. CALL/PUT: "usually 1-10" in contracts_for."""
MINIMUM_TIMED_S = 15
MAXIMUM_TIMED_S = 86_400
"""Assumption: intraday contracts run from 15 seconds to a day. Not in any source at hand; contracts_for tells."""
IN_TICKS = Span("tick", "1t", f"{MAXIMUM_TICKS}t")
INTRADAY = Span("intraday", f"{MINIMUM_TIMED_S}s", f"{MAXIMUM_TIMED_S // UNIT_S[DurationUnit.HOURS]}h")
_TIMED = frozenset({DurationUnit.SECONDS, DurationUnit.MINUTES, DurationUnit.HOURS})
SLOWEST_TICK_S = 2
"""The spacing of the slowest symbols, for those that are not known here."""

FORM = form_of(
    r"(?P<payout>\d+(?:\.\d+)?)_(?P<start>\d{1,10})F?"
    r"_(?:(?P<ticks>\d{1,3})T|(?P<expiry>\d{1,10})F?)(?:_(?P<barrier>[^_\s]+)(?:_[^_\s]+)?)?"
)
"""``TYPE_SYMBOL_PAYOUT_START_EXPIRY_BARRIER_BARRIER2``; EXPIRY is ``5T`` for ticks, F marks forward and fixed times."""
_NO_BARRIER = frozenset({None, "S0P", "0"})


# What is asked for


def asked(parameters: ContractParameters) -> Terms:
    """The terms in a proposal or purchase. Raises RequestRefused."""
    if parameters.duration is None or parameters.date_expiry is not None or parameters.date_start is not None:
        raise refusal("OfferingsValidationError", "Please specify a duration from now.", "duration")
    if parameters.amount is None:
        raise refusal("InvalidAmount", "Please specify an amount.", "amount")
    if parameters.barrier2 is not None:
        raise refusal("BarrierValidationError", "Only one barrier is allowed.", "barrier2")
    return Terms(
        contract_type=parameters.contract_type,
        symbol=parameters.underlying_symbol,
        duration=parameters.duration,
        unit=parameters.duration_unit or DurationUnit.SECONDS,
        amount=parameters.amount,
        # Deriv asks for a basis with an amount; a request without one is taken as payout by old servers.
        basis=parameters.basis or Basis.PAYOUT,
        currency=parameters.currency,
        barrier=parameters.barrier,
    )


def request(terms: Terms) -> dict[str, Any]:
    """The parameters of a purchase that these categories have beside those that all have."""
    return {"duration": terms.duration, "duration_unit": terms.unit, "barrier": terms.barrier}


def check_duration(terms: Terms, spans: tuple[Span, ...]) -> None:
    """Refuse a duration that is not offered. Raises RequestRefused."""
    if terms.in_ticks:
        if not 1 <= terms.duration <= MAXIMUM_TICKS:
            raise refusal("TicksNumberLimits", f"Number of ticks must be between 1 and {MAXIMUM_TICKS}.", "duration")
        return
    if INTRADAY not in spans or terms.unit not in _TIMED:
        raise refusal("TradingDurationNotAllowed", "Trading is not offered for this duration.", "duration_unit")
    if not MINIMUM_TIMED_S <= terms.seconds <= MAXIMUM_TIMED_S:
        raise refusal("TradingDurationNotAllowed", "Trading is not offered for this duration.", "duration")


# What it costs


def _out_of_bounds(terms: Terms, current: Decimal, bounds: Bounds) -> RequestRefused:
    return refusal(
        "ContractBuyValidationError",
        f"Minimum stake of {bounds.minimum_stake:.2f} and maximum payout of {bounds.maximum_payout:.2f}. "
        f"Current {'payout' if terms.basis is Basis.STAKE else 'stake'} is {current:.2f}.",
        "amount",
    )


def price(terms: Terms, settings: PriceSettings, *, category: str, own: Bounds, chance: Chance) -> Price:
    """Ask price and payout of new terms, at the money.

    Raises RequestRefused (ContractBuyValidationError) if the stake is below the minimum or the payout above the
    maximum, in Deriv's words.
    """
    bounds = settings.bounds(category, own)
    # Whoever pays or wins this much is over the limit either way; rounding numbers far beyond it would fail.
    if terms.amount > bounds.maximum_payout:
        raise _out_of_bounds(terms, terms.amount, bounds)
    share = chance(terms, terms.seconds, None, None) + bounds.commission + settings.markup
    if terms.basis is Basis.STAKE:
        found = Price(ask=cents(terms.amount), payout=cents(terms.amount / share))
    else:
        found = Price(ask=cents(terms.amount * share), payout=cents(terms.amount))
    if found.ask < bounds.minimum_stake or found.payout > bounds.maximum_payout:
        raise _out_of_bounds(terms, found.payout if terms.basis is Basis.STAKE else found.ask, bounds)
    return found


def bid(payout: Decimal, chance_now: Decimal, commission: Decimal) -> Decimal:
    """What an open contract is worth: payout × (p_now - c), in cents, never below 0."""
    return max(Decimal("0.00"), cents(payout * (chance_now - commission)))


def greatest_loss(paid: Price) -> Decimal:
    """The buyer can lose what was paid, and no more."""
    return paid.ask


# What a record shows


def shortcode_head(terms: Terms, bought: Price, at: Timeline) -> str:
    """A shortcode as far as its barriers."""
    end = f"{terms.duration}T" if terms.in_ticks else str(at.expiry_s)
    return f"{terms.contract_type}_{terms.symbol}_{bought.payout:.2f}_{at.purchase_s}_{end}"


def differing_term(terms: Terms, shown: Shortcode) -> str | None:
    """In which term a record is another contract; a timed one is recognised by its length."""
    if terms.barrier != shown.barrier and not {terms.barrier, shown.barrier} <= _NO_BARRIER:
        return "barrier"
    if terms.in_ticks:
        return None if shown.duration_ticks == terms.duration else "duration"
    length_s = None if shown.expiry_s is None else shown.expiry_s - shown.start_s
    return None if length_s == terms.seconds else "duration"


# How it ends


def timeline(terms: Terms, purchase_s: int, *, entry_counts: bool) -> Timeline:
    """When a contract bought in a given second enters and ends.

    Entry is the first tick after the second of purchase. A contract of N ticks exits at the N-th tick, ``entry_counts``
    tells whether the entry is the first of them; a timed one at the last tick not after its expiry.
    """
    symbol = SYMBOLS[terms.symbol]
    spacing = symbol.tick_spacing_s
    entry_s = symbol.next_tick_epoch(purchase_s)
    if terms.in_ticks:
        exit_s = entry_s + (terms.duration - entry_counts) * spacing
        return Timeline(purchase_s, entry_s, exit_s, exit_s, range(entry_s, exit_s + 1, spacing))
    expiry_s = purchase_s + terms.seconds
    return Timeline(purchase_s, entry_s, symbol.tick_epoch(expiry_s), expiry_s, range(0))


def end_s(terms: Terms, purchase_s: int) -> int:
    """When a contract must have ended: ticks are counted with their symbol's spacing, one more for the entry."""
    if terms.in_ticks:
        symbol = SYMBOLS.get(terms.symbol)
        spacing_s = SLOWEST_TICK_S if symbol is None else symbol.tick_spacing_s
        return purchase_s + (terms.duration + 1) * spacing_s
    return purchase_s + terms.seconds


def exits(terms: Terms) -> frozenset[Call]:
    """Deriv does not take tick contracts back; a timed one may be sold."""
    return frozenset() if terms.in_ticks else frozenset({Call.SELL})


def ended(terms: Terms, record: Ended) -> ContractStatus:
    """How a contract ended: its own end pays all or nothing, and in its time."""
    if Call.SELL in exits(terms):
        is_whole = record.sell_price in (0, record.payout)
        # The end is booked with the last tick before it.
        is_early = 0 < record.sell_s < end_s(terms, record.purchase_s) - SLOWEST_TICK_S
        if is_early or not is_whole:
            return ContractStatus.SOLD
    return ContractStatus.WON if record.sell_price > 0 else ContractStatus.LOST
