"""What the gateway believes in the end, compared with the exchange's own ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.exit import DECIDED, ExitState
from derivfleet.gateway.core.orders.order import FINAL, Doubt, State
from tests.sim.foreign_trader import FOREIGN
from tests.sim.plan import BOTS

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from derivfleet.simulator.core.contracts import Contract
    from tests.sim.world import World

__all__ = ["COUNTS", "LedgerCheck", "check_ledger"]

COUNTS = (
    "duplicates",
    "lost",
    "silently_unknown",
    "wrong_profit",
    "wrong_body",
    "two_answers",
    "stale_sends",
    "unwritten",
    "two_owners",
    "ignored_news",
    "sold_twice",
    "wrong_exit",
    "stolen",
    "bought_in_doubt",
    "held_up",
    "believed_early",
    "mistaken",
    "over_read",
    "under_read",
    "wrong_word",
    "wrong_count",
    "misstated",
    "untold",
    "forgotten",
    "unforeseen",
    "broken",
)
"""What must be zero."""
LAST_SECONDS = 2
"""An end is booked with the last tick before it."""
NOTHING_BOUGHT = frozenset({State.DENIED, State.REJECTED, State.NOT_FOUND})


@dataclass(slots=True)
class LedgerCheck:
    """What was found; each problem names its kind first."""

    problems: list[str] = field(default_factory=list[str])
    unresolved: list[str] = field(default_factory=list[str])
    """Orders that are unknown to the end, and with reason: the records cannot tell, and no operator has either."""

    def add(self, kind: str, text: str) -> None:
        self.problems.append(f"{kind}: {text}")

    @property
    def counts(self) -> Counter[str]:
        """Problems by kind."""
        return Counter(problem.partition(":")[0] for problem in self.problems)


def check_ledger(world: World) -> LedgerCheck:
    """Compare every order with the ledger."""
    check = LedgerCheck()
    purchases = _purchases(world, check)
    alike: dict[OrderTerms, set[int]] = defaultdict(set)
    for order_id, contract_ids in purchases.items():
        alike[world.plans[order_id].terms].update(contract_ids)
    claimed: dict[int, str] = {}
    for order in world.orders.values():
        if order.contract_id:
            other = claimed.setdefault(order.contract_id, order.order_id)
            if other != order.order_id:
                check.add("lost", f"{order.contract_id} is that of {other} and of {order.order_id}")
    for order_id, order in world.orders.items():
        _check_order(world, check, order, purchases[order_id], alike[world.plans[order_id].terms], claimed)
        _check_exits(world, check, order)
    for contract_id, order_id in world.bought.items():
        order = world.orders.get(order_id)
        if contract_id not in claimed and order_id != FOREIGN and (order is None or order.state is not State.UNKNOWN):
            check.add("lost", f"{contract_id}, bought for {order_id} ({order and order.state}), belongs to no order")
    for asker in world.bots.values():
        _check_answers(check, asker.plan.order_id, [answer for answer in asker.told if answer[1] not in world.misnamed])
        if asker.wrongly_accepted:
            check.add("wrong_body", f"another body was taken for {asker.plan.order_id}")
    _check_counts(world, check)
    check.problems += world.violations
    return check


def _purchases(world: World, check: LedgerCheck) -> dict[str, list[int]]:
    """What was bought for each order, once at most and with its terms."""
    found: dict[str, list[int]] = defaultdict(list)
    contracts = world.exchange.options_account.contracts
    for contract_id, order_id in world.bought.items():
        if order_id == FOREIGN:
            continue
        plan, price = world.plans.get(order_id), contracts[contract_id].buy_price
        if plan is None or price != plan.terms.stake:
            check.add("wrong_body", f"{order_id} was bought for {price}")
        else:
            found[order_id].append(contract_id)
    for order_id, contract_ids in found.items():
        if len(contract_ids) > 1:
            check.add("duplicates", f"{order_id} was bought as {contract_ids}")
    return found


def _check_order(
    world: World, check: LedgerCheck, order: Order, mine: list[int], alike: set[int], claimed: dict[int, str]
) -> None:
    """``mine``: what was bought for it; ``alike``: what was bought with the same terms, by whomever."""
    state, order_id = order.state, order.order_id
    free = [contract_id for contract_id in mine if contract_id not in claimed]
    if state is State.UNKNOWN:
        if order.doubt in (Doubt.MORE_CANDIDATES, Doubt.FOREIGN_TRADES, Doubt.NO_CONTRACT):
            check.unresolved.append(order_id)
        else:
            check.add("silently_unknown", f"{order_id} is unknown to the end, though the records tell: {mine}")
        return
    if state not in FINAL:
        check.add("silently_unknown", f"{order_id} is {state} to the end, bought: {mine}")
        return
    if state in NOTHING_BOUGHT:
        if free:
            check.add("silently_unknown", f"{order_id} is {state}, but was bought as {free}")
        return
    contract = world.exchange.options_account.contracts.get(order.contract_id)
    if contract is None or order.contract_id not in alike:
        check.add("wrong_profit", f"{order_id} has {order.contract_id}, which is none of {alike or mine}")
    elif contract.sale is None or order.profit != contract.sale.price - contract.buy_price:
        check.add("wrong_profit", f"{order_id} says {order.profit}, the ledger {contract.sale}")


def _check_exits(world: World, check: LedgerCheck, order: Order) -> None:
    """Each exit once, decided when the order is settled, and done if it was its frame that sold the contract."""
    names = [one.exit_id for one in order.exits]
    if len(set(names)) < len(names):
        check.add("sold_twice", f"{order.order_id} has {names}")
    contract = world.exchange.options_account.contracts.get(order.contract_id)
    for one in order.exits:
        is_plain = _is_plain(contract) or (order.order_id, one.exit_id) in world.reads.receipted
        has_sold = world.invariants.sold_by.get(order.contract_id) == (order.order_id, one.exit_id)
        if order.state is State.SETTLED and one.state not in DECIDED:
            check.add("wrong_exit", f"{order.order_id} is settled, and its sale {one.exit_id} {one.state}")
        elif has_sold != (one.state is ExitState.DONE) and is_plain:
            sold = "sold" if has_sold else "did not sell"
            check.add("wrong_exit", f"sale {one.exit_id} of {order.order_id} is {one.state}, and {sold} the contract")


def _check_counts(world: World, check: LedgerCheck) -> None:
    """What each bot's counts say, over all lives."""
    if world.life is None:
        return
    for bot in BOTS:
        tally = world.life.room.orders.tallies.of(bot)
        orders = [order for order in world.orders.values() if order.bot == bot]
        ended = [order for order in orders if order.state is State.SETTLED]
        profit = sum((order.profit or Decimal(0) for order in ended), Decimal(0))
        counted = (tally.settled, tally.profit, tally.found_late)
        if counted != (len(ended), profit, sum(order.found_late for order in orders)):
            check.add("wrong_count", f"{bot} has {counted} settled, profit and found late by its counts")


def _is_plain(contract: Contract | None) -> bool:
    """Whether the account's records tell how it ended: a sale in the last seconds can pay just what the end pays."""
    if contract is None or contract.sale is None or contract.sale.price not in (0, contract.payout):
        return True
    decided_s = contract.timeline.decided_s
    return decided_s is None or contract.sale.time_s < decided_s - LAST_SECONDS


def _check_answers(check: LedgerCheck, order_id: str, told: list[tuple[str, int]]) -> None:
    """A bot that has heard an end may not hear another."""
    ends = {answer for answer in told if answer[0] in FINAL}
    contracts = {contract_id for _, contract_id in told if contract_id}
    late = {state for state, _ in ends} == {State.NOT_FOUND, State.SETTLED}
    if (len(ends) > 1 and not late) or len(contracts) > 1:
        check.add("two_answers", f"{order_id} was told {told}")
