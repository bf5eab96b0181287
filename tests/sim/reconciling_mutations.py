"""Mutations of what records say, leases and an operator's word, made as those of ``purchase_mutations`` are."""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.exit import DECIDED
from derivfleet.gateway.core.orders.transitions import Disproved, Doubted, NotFound
from derivfleet.gateway.core.reconcile.lost_orders import Read, fits, is_proven_absent

if TYPE_CHECKING:
    from derivfleet.gateway.core.leases.leases import Leases
    from derivfleet.gateway.core.orders.clock_skew import Skew
    from derivfleet.gateway.orders.account_orders import AccountOrders
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.reconciling.lost_orders import LostOrders
    from derivfleet.gateway.reconciling.overdue_contracts import OverdueContracts


def any_epoch(_allows: Any) -> Any:
    def mutated(self: Leases, replica: str, symbol: str, _epoch: int, now_ns: int) -> bool:
        lease = self.holder(symbol, now_ns)
        return lease is not None and lease.replica == replica

    return mutated


def once_held(_allows: Any) -> Any:
    def mutated(_self: Leases, _replica: str, _symbol: str, epoch: int, _now_ns: int) -> bool:
        return epoch > 0

    return mutated


def for_the_first(serve: Any) -> Any:
    def mutated(self: LostOrders, order_ids: Any, *rest: Any) -> None:
        serve(self, order_ids[:1], *rest)

    return mutated


def since_the_sending(_proven: Any) -> Any:
    def mutated(entry: Any, *rest: Any) -> bool:
        sent = replace(entry.order, lost_time_ns=entry.order.sent_time_ns)
        return is_proven_absent(replace(entry, order=sent), *rest)

    return mutated


def the_first_alone(judge: Any) -> Any:
    def mutated(*asked: Any) -> Any:
        return judge(*asked)[:1]

    return mutated


def to_the_first(_paired: Any) -> Any:
    def mutated(orders: Any, candidates: Any, now_ns: int, slack_s: float, _ahead_ns: Any) -> Any:
        waiting, pairs = list(orders), list[Any]()
        for purchase in candidates:
            fitting = [order for order in waiting if fits(order, purchase, now_ns, slack_s)]
            if fitting:
                order = min(fitting, key=lambda one: (one.lost_time_ns, one.sent_time_ns))
                waiting.remove(order)
                pairs.append((order, purchase))
        return pairs

    return mutated


def far_apart(_ahead_ns: Any) -> Any:
    def mutated(_self: Skew, _at_ns: int) -> int:
        return 20 * 10**9

    return mutated


def whether_or_not_read(take_stock: Any) -> Any:
    """Each look counts as a read, whether one came or not."""

    def mutated(self: LostOrders) -> None:
        take_stock(self)
        now_ns = self._clock.now_ns()
        for name, entry in self._lost.items():
            self._lost[name] = replace(entry, clean_reads=entry.clean_reads + 1, read_ns=now_ns)

    return mutated


def for_a_minute(_watched: Any) -> Any:
    def mutated(order: Any, now_ns: int) -> bool:
        return bool(now_ns - order.lost_time_ns < 60 * 10**9)

    return mutated


def without_watched(recover: Any) -> Any:
    def mutated(self: AccountOrders) -> None:
        recover(self)
        self.registry.watched.clear()

    return mutated


def given_out(judge: Any) -> Any:
    """What would be a doubt is matched in the order of time."""

    def mutated(lost: Any, in_flight: Any, purchases: Any, *rest: Any) -> Any:
        left = list(purchases)
        while any(isinstance(verdict, Doubted) and verdict.candidates for _, verdict in judge(lost, [], left, *rest)):
            left.pop()
        return judge(lost, in_flight, left, *rest)

    return mutated


def each_minute(plan: Any) -> Any:
    return tuple(step for step in plan if step[0] < 2 or step[0] >= 60)


def without_the_portfolio(plan: Any) -> Any:
    return tuple(step for step in plan if step[1] is not Read.PORTFOLIO)


def missing_at_once(look: Any) -> Any:
    async def mutated(self: OverdueContracts, orders: Any, now_ns: int) -> None:
        for order in orders:
            self._missing_ns.setdefault(order.order_id, now_ns - 1)
        await look(self, orders, now_ns)

    return mutated


def not_bought(move: Any) -> Any:
    def mutated(self: OrderRegistry, order: Any, event: Any) -> Any:
        moved = move(self, order, event)
        return self.move(moved, NotFound()) if isinstance(event, Disproved) else moved

    return mutated


def without_candidates(move: Any) -> Any:
    def mutated(self: OrderRegistry, order: Any, event: Any) -> Any:
        return move(self, order, Disproved() if isinstance(event, Disproved) else event)

    return mutated


def once_exits_are_decided(at_rest: Any) -> Any:
    def mutated(order: Any, read_ns: int) -> bool:
        return bool(at_rest(order, read_ns)) and all(one.state in DECIDED for one in order.exits)

    return mutated
