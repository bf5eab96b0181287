"""What Prometheus may know of the gateway. Names of accounts, bots and buckets are labels; ids never are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from derivfleet.common.prometheus import counter, gauge
from derivfleet.gateway.core.orders.circuit_breaker import BreakerState
from derivfleet.gateway.core.orders.order import FINAL, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from derivfleet.gateway.account.account import AccountRoom
    from derivfleet.gateway.core.orders.tally import BotTally
    from derivfleet.gateway.journal.journal import Journal

__all__ = ["gauges"]

# Each ends an order or begins it, so these never fall: neither when a receipt turns out wrong nor at a restart.
OUTCOMES: Mapping[str, Callable[[BotTally], int]] = {
    "asked": lambda tally: tally.buys,
    "denied": lambda tally: tally.denied,
    "rejected": lambda tally: tally.rejected,
    "settled": lambda tally: tally.settled,
    "won": lambda tally: tally.wins,
}


def gauges(rooms: Collection[AccountRoom], journal: Journal, now_ns: int) -> Iterator[Metric]:
    """All of them. Counts of orders go on over restarts, those of calls begin anew."""
    calls = {(room.key, *key): count for room in rooms for key, count in room.client.outcomes.items()}
    yield counter("deriv_calls", "Calls to Deriv by what came of them", ("account", "call", "outcome"), calls)
    refused = {(room.key, call): count for room in rooms for call, count in room.client.refused.items()}
    yield counter("calls_refused", "Calls not made: no permit before their deadline", ("account", "call"), refused)
    rate = {(room.key,): room.client.rejected_by_deriv for room in rooms}
    yield counter("rate_refusals", "Calls that Deriv refused for their rate", ("account",), rate)
    yield from _of_quota(rooms, now_ns)
    yield from _of_orders(rooms)
    yield from _of_sockets(rooms)
    yield gauge("journal_unwritten", "Transitions that wait for the journal's database", (), {(): journal.unwritten})


def _of_quota(rooms: Collection[AccountRoom], now_ns: int) -> Iterator[Metric]:
    uses = {(room.key, one.bucket, str(one.window_s)): one for room in rooms for one in room.quota.use(now_ns)}
    labels = ("account", "bucket", "window_s")
    used = {key: one.used for key, one in uses.items()}
    yield gauge("quota_used", "Calls that count in a window of Deriv's limits", labels, used)
    limits = {key: one.limit for key, one in uses.items()}
    yield gauge("quota_limit", "How many calls the gateway makes in a window", labels, limits)
    waiting = {(room.key, *key): count for room in rooms for key, count in room.quota.waiting().items()}
    yield gauge("calls_waiting", "Calls that wait for a permit", ("account", "bot", "bucket"), waiting)


def _of_orders(rooms: Collection[AccountRoom]) -> Iterator[Metric]:
    tallies = {(room.key, bot): room.orders.tallies.of(bot) for room in rooms for bot in sorted(room.bots)}
    orders = {(*key, name): of(tally) for key, tally in tallies.items() for name, of in OUTCOMES.items()}
    yield counter("orders", "Orders by what came of them", ("account", "bot", "outcome"), orders)
    confirmed = {key: tally.confirmed for key, tally in tallies.items()}
    yield gauge("orders_confirmed", "Orders that are known to have been bought", ("account", "bot"), confirmed)
    profit = {key: float(tally.profit) for key, tally in tallies.items()}
    yield gauge("profit", "What settled orders brought, in the account's currency", ("account", "bot"), profit)
    late = {key: tally.found_late for key, tally in tallies.items()}
    yield gauge("orders_found_late", "Orders taken for not bought that were", ("account", "bot"), late)
    doubtful = {key: tally.doubtful for key, tally in tallies.items()}
    yield gauge("orders_doubtful", "Orders that a person has to decide about", ("account", "bot"), doubtful)
    counts = {room.key: Counter(order.state for order in room.orders.registry.open.values()) for room in rooms}
    # A state without orders has a row too, or nobody could tell none from absent.
    states = [state for state in State if state not in FINAL]
    standing = {(key, str(state)): count[state] for key, count in counts.items() for state in states}
    yield gauge("orders_open", "Orders that are not over, by their state", ("account", "state"), standing)
    foreign = {(room.key,): room.orders.evidence.foreign_count for room in rooms}
    yield gauge("foreign_trades", "Trades on the account that are not the fleet's", ("account",), foreign)


def _of_sockets(rooms: Collection[AccountRoom]) -> Iterator[Metric]:
    slots = {(room.key, str(role)): slot for room in rooms for role, slot in room.pool.slots.items()}
    labels = ("account", "role")
    up = {key: slot.usable is not None for key, slot in slots.items()}
    yield gauge("socket_up", "1 while calls may be made on a socket to Deriv", labels, up)
    ping_s = {key: slot.ping_ms / 1e3 for key, slot in slots.items()}
    yield gauge("socket_ping_seconds", "How long Deriv's last answer to a ping took", labels, ping_s)
    again = {key: slot.reconnects for key, slot in slots.items()}
    yield counter("socket_reconnects", "Sockets that had to be replaced", labels, again)
    closed = {(room.key,): room.breaker.state is not BreakerState.OPEN for room in rooms}
    yield gauge("orders_allowed", "0 while the circuit breaker is open: no orders are sent", ("account",), closed)
