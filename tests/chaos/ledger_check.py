"""The fleet's orders, what its bots were told, and the simulator's ledger, compared. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from math import sqrt
from typing import TYPE_CHECKING, Any

from bench.percentiles import percentile
from derivfleet.v1 import orders_pb2
from tests.chaos.callers import FINAL, FIRST_STAKE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.chaos.callers import CallerOrder
    from tests.chaos.fault_injection import InjectedFault
    from tests.chaos.operator_client import Transition

__all__ = [
    "Contract",
    "LedgerCheck",
    "chance_of_more",
    "check_ledger",
    "contracts_of",
    "first_orders_ms",
    "percentile",
    "spread",
    "waits_of",
]

UNKNOWN, SETTLED = orders_pb2.ORDER_STATE_UNKNOWN, orders_pb2.ORDER_STATE_SETTLED
CONFIRMED, NOT_FOUND = orders_pb2.ORDER_STATE_CONFIRMED, orders_pb2.ORDER_STATE_NOT_FOUND
NOTHING_BOUGHT = frozenset({orders_pb2.ORDER_STATE_DENIED, orders_pb2.ORDER_STATE_REJECTED, NOT_FOUND})
QUIET_BEFORE_NS = 2 * 10**9
"""How long before an order nothing may have been cut or killed for its wait to count: sockets must be back."""
FEWEST_WAITS = 30
MOST_MORE_MS = 50.0
"""How much longer (fleet time) the median wait may be while another bot's order is unknown: half a usual answer."""
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Contract:
    """One purchase in the ledger."""

    contract_id: int
    stake: Decimal
    sell_price: Decimal | None
    profit: Decimal | None


@dataclass(slots=True)
class LedgerCheck:
    """Counts of what must not be, and a line for each of the first of them."""

    orders: int = 0
    contracts: int = 0
    reconciled: int = 0
    duplicates: int = 0
    """Purchases beyond the one that an order asked for, and purchases that no order asked for."""
    lost: int = 0
    """Orders that a bot was told of and the journal does not know, or whose contract the ledger does not have."""
    silently_unknown: int = 0
    """Orders said to have bought nothing that did buy, or that ended the run neither final nor unknown."""
    wrong_profit: int = 0
    unresolved: int = 0
    """Orders that are not final though nothing was wrong any more for as long as was waited."""
    feed_gaps: int = 0
    """Transitions that the order feed did not tell, or told of a final order."""
    lines: list[str] = field(default_factory=list[str])

    def add(self, kind: str, line: str) -> None:
        """Count one."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.lines) < MOST_TOLD:
            self.lines.append(f"{kind}: {line}")

    @property
    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that must not be."""
        return not self.lines


def contracts_of(ledger: Mapping[str, Any]) -> list[Contract]:
    """The contracts of all accounts in what ``GET /ledger`` answers; a profit is the sum of a contract's movements."""
    found: list[Contract] = []
    for account in ledger["accounts"]:
        moved: dict[int, Decimal] = defaultdict(Decimal)
        for movement in account["movements"]:
            if movement["contract_id"] is not None:
                moved[movement["contract_id"]] += Decimal(movement["amount"])
        for one in account["contracts"]:
            sold = None if one["sell_price"] is None else Decimal(one["sell_price"])
            profit = None if sold is None else moved[one["contract_id"]]
            found.append(Contract(one["contract_id"], Decimal(one["buy_price"]), sold, profit))
    return found


def check_ledger(
    orders: Iterable[orders_pb2.Order],
    contracts: Iterable[Contract],
    told: Iterable[CallerOrder],
    transitions: Iterable[Transition] | None,
    unique_from: Decimal = FIRST_STAKE,
) -> LedgerCheck:
    """Compare all orders of the journal with all contracts of the ledger, and both with what bots were told.

    ``transitions`` None: the feed was not followed. Stakes from ``unique_from`` on belong to one order each.
    """
    by_id = {order.order_id: order for order in orders}
    ledger = {contract.contract_id: contract for contract in contracts}
    check = LedgerCheck(len(by_id), len(ledger), sum(order.reconciled for order in by_id.values()))
    _compare_states(check, by_id)
    _compare_contracts(check, by_id, ledger, unique_from)
    _compare_stakes(check, by_id, ledger, unique_from)
    _compare_told(check, by_id, told)
    if transitions is not None:
        _compare_feed(check, by_id, transitions)
    return check


def _compare_states(check: LedgerCheck, by_id: Mapping[str, orders_pb2.Order]) -> None:
    for order in by_id.values():
        if order.state in (UNKNOWN, CONFIRMED):
            check.add("unresolved", f"{order.order_id} is in state {order.state} still ({order.error_code})")
        elif order.state not in FINAL:
            check.add("silently_unknown", f"{order.order_id} is left in state {order.state}")


def _compare_contracts(
    check: LedgerCheck, by_id: Mapping[str, orders_pb2.Order], ledger: Mapping[int, Contract], unique_from: Decimal
) -> None:
    claims: dict[int, list[str]] = defaultdict(list)
    for order in by_id.values():
        if order.contract_id:
            claims[order.contract_id].append(order.order_id)
    for contract_id, names in claims.items():
        if len(names) > 1:
            check.add("silently_unknown", f"contract {contract_id} is claimed by {', '.join(names)}")
        contract = ledger.get(contract_id)
        if contract is None:
            check.add("lost", f"{names[0]}: the ledger has no contract {contract_id}")
        elif by_id[names[0]].state == SETTLED:
            _compare_money(check, by_id[names[0]], contract)
    for contract_id, contract in ledger.items():
        if contract_id not in claims and contract.stake < unique_from:
            check.add("duplicates", f"no order has contract {contract_id} (stake {contract.stake})")


def _compare_money(check: LedgerCheck, order: orders_pb2.Order, contract: Contract) -> None:
    believed = tuple(map(Decimal, (order.buy_price, order.sell_price, order.profit)))
    if believed != (contract.stake, contract.sell_price, contract.profit):
        check.add("wrong_profit", f"{order.order_id}: {', '.join(map(str, believed))} is not {contract}")


def _compare_stakes(
    check: LedgerCheck, by_id: Mapping[str, orders_pb2.Order], ledger: Mapping[int, Contract], unique_from: Decimal
) -> None:
    """The callers' orders: one stake is one order, whatever the journal says of contracts."""
    bought: dict[Decimal, list[int]] = defaultdict(list)
    for contract in ledger.values():
        if contract.stake >= unique_from:
            bought[contract.stake].append(contract.contract_id)
    wanted = {stake: order for order in by_id.values() if (stake := Decimal(order.terms.stake)) >= unique_from}
    for stake, contract_ids in bought.items():
        for contract_id in contract_ids[1:]:
            check.add("duplicates", f"stake {stake} was bought again as contract {contract_id}")
        order = wanted.get(stake)
        if order is None:
            check.add("duplicates", f"no order of the journal has stake {stake} (contract {contract_ids[0]})")
        elif order.state in NOTHING_BOUGHT:
            check.add("silently_unknown", f"{order.order_id} is said to have bought nothing, and bought {contract_ids}")
        elif order.contract_id and order.contract_id not in contract_ids:
            check.add("silently_unknown", f"{order.order_id} has another order's contract {order.contract_id}")


def _compare_told(check: LedgerCheck, by_id: Mapping[str, orders_pb2.Order], told: Iterable[CallerOrder]) -> None:
    for one in told:
        order = by_id.get(one.order_id)
        if order is None:
            if one.states:
                check.add("lost", f"{one.order_id} was told {one.states}, and the journal does not know it")
        elif one.contract_id and order.contract_id != one.contract_id:
            check.add("lost", f"{one.order_id} was told contract {one.contract_id}, has {order.contract_id}")


def _compare_feed(check: LedgerCheck, by_id: Mapping[str, orders_pb2.Order], transitions: Iterable[Transition]) -> None:
    last: dict[str, int] = {}
    for step in transitions:
        before = last.get(step.order_id)
        # A late record corrects "not found"; every other final state stays.
        if before in FINAL and before != NOT_FOUND:
            check.add("feed_gaps", f"{step.order_id} went from {before} to {step.state}")
        last[step.order_id] = step.state
    for order_id, order in by_id.items():
        if last.get(order_id) != order.state:
            check.add("feed_gaps", f"the feed left {order_id} in state {last.get(order_id)}, it is {order.state}")


def spread(values: Sequence[float]) -> dict[str, float]:
    """How many, p50, p99 and the largest."""
    return {
        "n": len(values),
        "p50": round(percentile(values, 0.5), 1),
        "p99": round(percentile(values, 0.99), 1),
        "max": round(max(values, default=0.0), 1),
    }


def first_orders_ms(faults: Iterable[InjectedFault], transitions: Sequence[Transition], speed: float) -> list[float]:
    """Wall milliseconds from each kill of a gateway to the next receipt of an order that was sent after it."""
    receipts = sorted((step.time_ns, step.sent_ns) for step in transitions if step.state == CONFIRMED and step.sent_ns)
    found: list[float] = []
    for fault in faults:
        if fault.served_ms is None:
            continue
        start = bisect_right(receipts, (fault.at_ns, 0))
        after = next((time_ns for time_ns, sent_ns in receipts[start:] if sent_ns > fault.at_ns), None)
        if after is not None:
            found.append((after - fault.at_ns) / 1e6 / speed)
    return found


def waits_of(transitions: Sequence[Transition], troubles_ns: Iterable[int], until_ns: int) -> dict[str, Any]:
    """Whether a bot waits longer for an order to be sent while another bot's order is unknown.

    The wait of an order is the fleet time from its being written down to its frame. Orders of bots that have an
    unknown order themselves are left out, and so are those with a cut, kill or pause (``troubles_ns``) in the two
    seconds before them or before their frame, for those wait for a socket. The rest is divided by whether any other
    bot had an unknown order when they were written down. ``greater`` is the chance that a wait with is longer than
    one without (ties count half; 0.5 means no difference), and ``greater_low`` the lower end of its 99 % interval
    (Mann–Whitney).
    """
    troubles = sorted(troubles_ns)
    spans = _unknown_spans(transitions, until_ns)
    groups: dict[bool, list[float]] = {True: [], False: []}
    seen: set[str] = set()
    for step in transitions:
        if not step.sent_ns or step.order_id in seen:
            continue
        seen.add(step.order_id)
        near = bisect_right(troubles, step.sent_ns)
        if near and troubles[near - 1] > step.intended_ns - QUIET_BEFORE_NS:
            continue
        unsure = {bot for bot, of_bot in spans.items() if any(low <= step.intended_ns < high for low, high in of_bot)}
        if step.bot not in unsure:
            groups[bool(unsure)].append((step.sent_ns - step.intended_ns) / 1e6)
    greater, low = chance_of_more(groups[True], groups[False])
    enough = min(len(groups[True]), len(groups[False])) >= FEWEST_WAITS
    more_ms = percentile(groups[True], 0.5) - percentile(groups[False], 0.5)
    return {
        "unit": "ms of fleet time from written down to sent",
        "others_unknown": spread(groups[True]),
        "nobody_unknown": spread(groups[False]),
        "median_more_ms": round(more_ms, 2),
        "greater": round(greater, 3),
        "greater_low": round(low, 3),
        "enough": enough,
        "caused_by_others": bool(enough and low > 0.5 and more_ms > MOST_MORE_MS),
    }


def _unknown_spans(transitions: Sequence[Transition], until_ns: int) -> dict[str, list[tuple[int, int]]]:
    """Bot → when it had an order whose fate was unknown."""
    since: dict[str, int] = {}
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    bots: dict[str, str] = {}
    for step in transitions:
        bots[step.order_id] = step.bot
        if step.state == UNKNOWN:
            since.setdefault(step.order_id, step.time_ns)
        elif (start_ns := since.pop(step.order_id, None)) is not None:
            spans[step.bot].append((start_ns, step.time_ns))
    for order_id, start_ns in since.items():
        spans[bots[order_id]].append((start_ns, until_ns))
    return dict(spans)


def chance_of_more(these: Sequence[float], those: Sequence[float]) -> tuple[float, float]:
    """The chance that one of these exceeds one of those, and the lower end of its 99 % interval."""
    if not these or not those:
        return 0.5, 0.0
    counts, below, total = Counter(those), 0, 0.0
    marks = Counter(these)
    for value in sorted(counts.keys() | marks.keys()):
        total += marks[value] * (below + counts[value] / 2)
        below += counts[value]
    chance = total / len(these) / len(those)
    deviation = sqrt((len(these) + len(those) + 1) / 12 / len(these) / len(those))
    return chance, chance - 2.576 * deviation
