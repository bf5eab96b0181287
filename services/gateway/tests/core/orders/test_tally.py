from __future__ import annotations

from decimal import Decimal

from derivfleet.gateway.core.orders.exit import Ending, ExitKind, ExitTerms
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import Doubt, Order, OrderTerms, State
from derivfleet.gateway.core.orders.tally import Past, Tallies, kind
from derivfleet.gateway.core.orders.transitions import (
    Confirmed,
    Disproved,
    Doubted,
    Event,
    ExitAsked,
    ExitMoved,
    NotFound,
    Settled,
    advance,
)
from derivfleet.gateway.gauges import OUTCOMES

TERMS = OrderTerms("DIGITEVEN", "R_100", Decimal(1), 1, "t")
RECEIPT = Confirmed(8, 18, Decimal(1), Decimal("1.95"), 1)
STORIES: dict[str, tuple[Event, ...]] = {
    "won": (Sent(), RECEIPT, Settled(Decimal("1.95"), 2)),
    "lost": (Sent(), RECEIPT, Settled(Decimal(0), 2)),
    "found": (Sent(), Lost("Timeout", ""), RECEIPT, Settled(Decimal(0), 2)),
    "absent": (Sent(), Lost("Timeout", ""), NotFound()),
    "denied": (Denied("LIMIT_REACHED", ""),),
    "rejected": (Sent(), Rejected("InsufficientBalance", "")),
    "open": (Sent(), RECEIPT),
    "unknown": (Sent(), Lost("Timeout", "")),
    "doubtful": (Sent(), Lost("Timeout", ""), Doubted(Doubt.FOREIGN_TRADES)),
    "still doubtful": (Sent(), Lost("Timeout", ""), Doubted(Doubt.UNREADABLE), Doubted(Doubt.MORE_CANDIDATES)),
    "decided": (Sent(), Lost("Timeout", ""), Doubted(Doubt.MORE_CANDIDATES), NotFound("operator")),
    "disproved": (Sent(), RECEIPT, Disproved()),
    "late and disproved": (Sent(), Lost("Timeout", ""), NotFound(), RECEIPT, Disproved(), NotFound("operator")),
    "late": (Sent(), Lost("Timeout", ""), NotFound(), RECEIPT, Settled(Decimal(0), 2)),
    "sold": (
        Sent(),
        RECEIPT,
        ExitAsked("sell-1", ExitTerms(ExitKind.SELL)),
        ExitMoved("sell-1", Sent()),
        Settled(Decimal("0.50"), 2, Ending.SOLD),
    ),
}


def test_counts_follow_the_transitions_and_a_replay_gives_the_same() -> None:
    live, replayed = Tallies(), Tallies()
    for name, events in STORIES.items():
        order = Order("demo", name, "bot", TERMS, State.INTENDED, 1)
        live.count(None, order)
        for event in events:
            before, order = order, advance(order, event, 2)
            live.count(before, order)
        is_settled = order.state is State.SETTLED
        profit = (order.profit if is_settled else None) or Decimal(0)
        replayed.replay([Past("bot", kind(order), 1, int(profit > 0), profit)])
    tally = live.of("bot")
    assert (tally.buys, tally.confirmed, tally.settled, tally.wins) == (15, 6, 5, 1)
    assert (tally.denied, tally.rejected, tally.unknown, tally.open) == (1, 1, 4, 5)
    assert (tally.doubtful, tally.found_late) == (3, 1)
    assert tally.profit == Decimal("-2.55")
    assert replayed.of("bot") == tally


def test_what_prometheus_counts_never_falls_neither_live_nor_at_a_restart() -> None:
    for name, events in STORIES.items():
        live, before = Tallies(), dict.fromkeys(OUTCOMES, 0)
        live.refused("bot", 1)
        order = Order("demo", name, "bot", TERMS, State.INTENDED, 1)
        live.count(None, order)
        for event in events:
            last, order = order, advance(order, event, 2)
            live.count(last, order)
            restarted = Tallies()
            profit = order.profit or Decimal(0)
            restarted.replay([Past("bot", kind(order), 1, int(profit > 0), profit)])
            told = {outcome: of(live.of("bot")) for outcome, of in OUTCOMES.items()}
            assert all(told[outcome] >= before[outcome] for outcome in OUTCOMES), (name, event)
            assert told == {outcome: of(restarted.of("bot")) for outcome, of in OUTCOMES.items()}, (name, event)
            before = told


def test_calls_are_counted_with_their_time() -> None:
    tallies = Tallies()
    tallies.called("bot", 5)
    tallies.called("bot", 7)
    assert (tallies.of("bot").ops, tallies.of("bot").last_seen_time_ns) == (2, 7)
