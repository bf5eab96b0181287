"""What the living gateway has read of the account's records, seen on the wire: what it may believe, what is too much.

Rules 12, 16 and 19 of ``docs/orders.md``, written another way: from the frames alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.exit import ExitState
from derivfleet.gateway.core.orders.order import Doubt, State
from derivfleet.gateway.core.reconcile.lost_orders import end_s
from tests.sim.virtual_time import NS_PER_S

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.exit import Exit
    from derivfleet.gateway.core.orders.order import Order
    from tests.sim.world import World

__all__ = ["LISTS", "MONEY", "OTHER", "TRADE", "ObservedReads"]

ABSENT_AFTER_S, LOOKED_AFTER_S = 30, 5
LOOKS = 3
STEPS_S = (2, 5, 10, 30, 45, *range(60, 661, 60))
CALM_S = 20
"""No socket has ended for so long, no gateway started and nothing else gone wrong: reads take their usual time."""
DONE_BY_S = 6
"""A read that is due has begun by then, if nothing is in its way."""
RESTS_S = 61
"""So long a limit rests that Deriv has called exceeded."""
REFUSED_S = 30
"""So long at most a socket that Deriv refuses is not asked for again."""
READS = ("statement", "portfolio", "proposal_open_contract")
TRADE, MONEY, LISTS, OTHER = "trade", "money", "lists", "other"
LIMIT_OF = {
    "buy": TRADE,
    "sell": TRADE,
    "proposal_open_contract": TRADE,
    "statement": MONEY,
    "balance": MONEY,
    "portfolio": LISTS,
    "transaction": OTHER,
}
"""Deriv's page "Limits": which calls are counted together, and so rest together."""
CATCH_UP_S = 2
"""An order that a person has decided about is looked for by a statement of its own, and not by one for others first."""
WRITTEN_AFTER_S = 0.01
"""What a gateway has read is written down by then."""
TURN_S = 0.3
"""Between the moment a read serves from, and its frame."""


@dataclass(slots=True)
class _Read:
    asked_ns: int
    kind: str = ""
    since_s: int = 0
    until_s: int = 0
    contract_id: int = 0
    answered_ns: int = 0
    is_denied: bool = False
    """Whether it says that there is no such contract."""
    rows: int = 0
    """As many as a page has at most."""
    offset: int = 0
    is_whole: bool = False
    """Whether it is the first page of a statement whose last one was read too."""

    @property
    def is_answered(self) -> bool:
        return self.answered_ns > 0

    def serves(self, order: Order) -> bool:
        is_within = self.since_s <= order.sent_time_ns // NS_PER_S and order.lost_time_ns // NS_PER_S <= self.until_s
        return is_within and self.asked_ns >= order.lost_time_ns


class ObservedReads:
    """The reads of one life of the gateway."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[tuple[int, int], _Read] = {}
        self._statements: list[_Read] = []
        self._contracts: list[_Read] = []
        self._portfolios: list[_Read] = []
        self._sales: dict[tuple[int, int], tuple[str, str]] = {}
        self.receipted: set[tuple[str, str]] = set()
        """Exits whose receipts a gateway has read and lived to write down."""
        self.decided_ns: dict[str, int] = {}
        """When a person has decided about an order whose receipt was for nothing: from then on it is looked for."""
        self.calm_ns = 0
        """Since when nothing has gone wrong with sockets."""
        self._exceeded_ns: dict[str, int] = dict.fromkeys((TRADE, MONEY, LISTS, OTHER), 0)
        self._refused_ns = 0

    def forget(self) -> None:
        """A gateway has died, and with it what it had read."""
        self._asked.clear()
        self._statements.clear()
        self._contracts.clear()
        self._portfolios.clear()
        self._sales.clear()

    def disturbed(self) -> None:
        """Something went wrong with a socket, or the gateway stood still."""
        self.calm_ns = self._world.timeline.now_ns

    def refused(self) -> None:
        """Deriv has refused a socket."""
        self.disturbed()
        self._refused_ns = self._world.timeline.now_ns

    def _exceed(self, call: str) -> None:
        """Deriv has refused a call for rate; it does not always tell which."""
        names = [LIMIT_OF[call]] if call in LIMIT_OF else list(self._exceeded_ns)
        self._exceeded_ns |= dict.fromkeys(names, self._world.timeline.now_ns)

    def lost(self, order: Order) -> None:
        """Rule 16: an order's answer was lost. Statements follow at their times, if nothing is in their way."""
        life = self._world.life

        def check(step_s: int) -> None:
            now = self._world.orders[order.order_id]
            due_ns = order.lost_time_ns + step_s * NS_PER_S
            if now.state is not State.UNKNOWN or self._world.life is not life:
                return
            if not self.is_easy(order.lost_time_ns, MONEY, LISTS):
                return
            if not any(read.serves(order) and read.asked_ns >= due_ns - NS_PER_S for read in self._statements):
                what = f"no statement was read for {order.order_id} {step_s} s after its loss"
                self._world.violations.append(f"under_read: {what}")

        for step_s in STEPS_S[:6]:
            self._world.timeline.after(step_s + DONE_BY_S, lambda step_s=step_s: check(step_s))

    def exit_lost(self, order: Order, exit_: Exit) -> None:
        """Rule 19: an exit's answer was lost. Its contract is looked at, at once if nothing is in the way."""
        life = self._world.life

        def check() -> None:
            now = self._world.orders[order.order_id]
            if now.state is not State.CONFIRMED or self._world.life is not life:
                return
            if not self.is_easy(exit_.lost_time_ns, TRADE):
                return
            if any(one.exit_id == exit_.exit_id and one.state is ExitState.UNKNOWN for one in now.exits) and not any(
                read.contract_id == order.contract_id and read.asked_ns >= exit_.lost_time_ns
                for read in self._contracts
            ):
                what = f"the contract of {order.order_id} was not looked at, whose exit {exit_.exit_id} is unknown"
                self._world.violations.append(f"under_read: {what}")

        self._world.timeline.after(DONE_BY_S, check)

    def is_easy(self, since_ns: int, *limits: str) -> bool:
        """Whether nothing has kept calls that count in some limits from being made since then."""
        world = self._world
        exceeded_ns = max(self._exceeded_ns[limit] for limit in limits)
        is_alone = not world.plan.is_tight and since_ns - exceeded_ns > RESTS_S * NS_PER_S
        is_let_in = since_ns - self._refused_ns > REFUSED_S * NS_PER_S
        return is_alone and is_let_in and self.calm_ns <= since_ns and not world.network.is_frozen

    def asked(self, number: int, text: str, order_id: str, exit_id: str) -> None:
        """A frame was handed over on a socket."""
        if any(text.startswith('{"' + name) for name in READS):
            self._world.note(f"read on {number}: {text}")
        if text.startswith('{"statement"'):
            frame: dict[str, Any] = json.loads(text)
            if frame.get("action_type") != "buy":
                return
            read = _Read(self._world.timeline.now_ns, "statement", frame["date_from"], frame["date_to"])
            read.rows, read.offset = frame["limit"], frame.get("offset", 0)
            if not read.offset:
                self._judge_need(read)
            self._statements.append(read)
            self._asked[number, frame["req_id"]] = read
        elif text.startswith('{"proposal_open_contract"'):
            frame = json.loads(text)
            read = _Read(self._world.timeline.now_ns, contract_id=frame.get("contract_id", 0))
            self._contracts.append(read)
            self._asked[number, frame["req_id"]] = read
        elif text.startswith('{"portfolio"'):
            read = _Read(self._world.timeline.now_ns)
            self._portfolios.append(read)
            self._asked[number, json.loads(text)["req_id"]] = read
        elif text.startswith('{"sell"'):
            self._sales[number, json.loads(text)["req_id"]] = (order_id, exit_id)

    def heard(self, number: int, frame: dict[str, Any]) -> None:
        """The gateway has read a frame."""
        key = (number, frame.get("req_id", 0))
        read = self._asked.pop(key, None)
        if "Limit" in frame.get("error", {}).get("code", ""):
            self._exceed(frame.get("msg_type", ""))
        if read is not None:
            read.answered_ns = 0 if "error" in frame else self._world.timeline.now_ns
            self._turn_page(read, frame)
            read.is_denied = frame.get("error", {}).get("code") == "ContractNotFound"
        if frame.get("msg_type") in READS:
            self._world.note(f"{frame['msg_type']} on {number} is read: {frame.get('error', 'an answer')}")
        if frame.get("msg_type") == "sell" and frame.get("sell") and key in self._sales:
            self._receipt(self._sales[key])

    def _receipt(self, sale: tuple[str, str]) -> None:
        """A gateway has read a sale's receipt; it is known from then on if it did not die over it."""
        life = self._world.life

        def check() -> None:
            if self._world.life is life:
                self.receipted.add(sale)

        self._world.timeline.after(WRITTEN_AFTER_S, check)

    def _turn_page(self, read: _Read, frame: dict[str, Any]) -> None:
        """What was read of a statement: it is whole with a page that is not full, if each before it was read."""
        listed: list[object] | None = frame.get("statement", {}).get("transactions")
        if read.kind != "statement" or listed is None or len(listed) >= read.rows:
            return
        pages: list[_Read] = []
        for one in reversed(self._statements):
            if (one.since_s, one.until_s) == (read.since_s, read.until_s) and one.offset == read.offset - sum(
                page.rows for page in pages
            ):
                pages.append(one)
                if not one.offset:
                    one.is_whole = all(page.is_answered for page in pages)
                    return

    def has_shown(self, contract_id: int) -> bool:
        """Whether a contract was read, a moment ago at least."""
        by_ns = self._world.timeline.now_ns - NS_PER_S
        return any(0 < read.answered_ns <= by_ns for read in self._contracts if read.contract_id == contract_id)

    def has_looked(self, contract_id: int, since_ns: int) -> bool:
        """Whether a contract was asked for, since an instant."""
        return any(read.contract_id == contract_id and read.asked_ns >= since_ns for read in self._contracts)

    def is_looking(self) -> bool:
        """Whether a contract is being read."""
        since_ns = self._world.timeline.now_ns - DONE_BY_S * NS_PER_S
        return any(read.contract_id and read.asked_ns >= since_ns for read in self._asked.values())

    def read_for(self, order: Order, since_ns: int) -> tuple[list[int], list[int]]:
        """When portfolios, and statements that serve an order, were asked for since an instant."""
        portfolios = [read.asked_ns for read in self._portfolios if read.asked_ns >= since_ns]
        return portfolios, [read.asked_ns for read in self._statements if read.serves(order)]

    def is_answered(self, order: Order) -> bool:
        """Whether a statement that serves an order was read."""
        return any(read.is_answered and read.serves(order) for read in self._statements)

    def judge_absence(self, order: Order) -> None:
        """Rule 12: an order was taken for not bought."""
        reads = [read for read in self._statements if read.is_whole and read.serves(order)]
        late_ns = order.lost_time_ns + ABSENT_AFTER_S * NS_PER_S
        if len(reads) < 2 or reads[-1].asked_ns < late_ns:
            after = [round((read.asked_ns - order.lost_time_ns) / NS_PER_S, 3) for read in reads]
            what = f"{order.order_id} was taken for not bought after statements read {after} s after its loss"
            self._world.violations.append(f"believed_early: {what}")

    def judge_not_done(self, order: Order, exit_: Exit) -> None:
        """Rule 19: an exit was taken for not done while its contract is open."""
        late_ns = exit_.lost_time_ns + LOOKED_AFTER_S * NS_PER_S
        if not any(
            read.is_answered and read.contract_id == order.contract_id and read.asked_ns >= late_ns
            for read in self._contracts
        ):
            what = f"exit {exit_.exit_id} of {order.order_id} was taken for not done without a look late enough"
            self._world.violations.append(f"believed_early: {what}")

    def judge_disproved(self, before: Order, order: Order) -> None:
        """Rule 23: no record knows the contract that an order's receipt names."""
        name, contract_id = order.order_id, before.contract_id
        mine = [one for one, owner in self._world.bought.items() if owner == name]
        over_ns = (end_s(before) or 0) * NS_PER_S
        times = before.sent_time_ns // NS_PER_S, before.answered_time_ns // NS_PER_S
        is_shown = {*mine} <= {one.contract_id for one in order.candidates}
        about = [one for one in self._contracts if one.contract_id == contract_id]
        looks = [one for one in about if one.is_denied and one.asked_ns >= over_ns]
        lists = [
            [one.asked_ns for one in reads if one.is_answered and one.asked_ns >= over_ns]
            for reads in (
                [
                    one
                    for one in self._statements
                    if one.is_whole and one.since_s <= times[0] <= times[1] <= one.until_s
                ],
                self._portfolios,
            )
        ]
        if contract_id not in self._world.misnamed:
            what = f"{name} has {contract_id}, which exists, and the gateway says that it does not"
        elif order.doubt is not Doubt.NO_CONTRACT or (not is_shown and self._world.plan.lag_s < ABSENT_AFTER_S):
            what = f"{name} has a receipt for nothing, and a person is not shown {mine}"
        elif len(looks) < LOOKS:
            what = f"{name} was taken to have a receipt for nothing after too few looks at its contract"
        elif any(not asked or asked[-1] - asked[0] < ABSENT_AFTER_S * NS_PER_S for asked in lists):
            what = f"{name} was taken to have a receipt for nothing after lists read once, or too soon again"
        else:
            return
        self._world.violations.append(f"believed_early: {what}")

    def _judge_need(self, read: _Read) -> None:
        """Rule 16: a statement is read if an order has come to a step that no other statement has served."""
        now_ns = read.asked_ns
        if now_ns - self.calm_ns < CALM_S * NS_PER_S:
            return
        if any(order.state is State.CONFIRMED for order in self._world.orders.values()):
            return  # one whose contract cannot be read is looked for in a statement, too
        for order in self._world.orders.values():
            is_looked_for = order.state in (State.UNKNOWN, State.NOT_FOUND) and order.doubt is not Doubt.NO_CONTRACT
            if not is_looked_for or not order.lost_time_ns:
                continue
            first_pages = (one for one in reversed(self._statements) if not one.offset)
            before = next((one for one in first_pages if one.serves(order)), None)
            since_ns = self.decided_ns.get(order.order_id, 0) + CATCH_UP_S * NS_PER_S
            if before is None or not before.is_answered or before.asked_ns < since_ns:
                return
            served_ns = before.asked_ns - order.lost_time_ns - round(TURN_S * NS_PER_S)
            if any(served_ns < step_s * NS_PER_S <= now_ns - order.lost_time_ns for step_s in STEPS_S):
                return
            if now_ns - order.lost_time_ns > STEPS_S[-1] * NS_PER_S:
                return
        self._world.violations.append("over_read: a statement was read that no order was due for")
