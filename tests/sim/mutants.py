"""Faults put into the gateway, one at a time, to see that the simulation catches each: ``python -m tests.sim.mutants``.

Each breaks one rule of ``docs/orders.md`` as a plausible mistake would. Written to ``build/mutants.json``.
"""

# pyright: reportPrivateUsage=false
# A mistake is made inside: that is where it would be.

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unittest.mock import patch

import typer
from rich.console import Console
from rich.progress import track

from derivfleet.deriv.errors import Outcome
from derivfleet.gateway import desk as desks
from derivfleet.gateway import reconciler as reconcilers
from derivfleet.gateway.core import orders, reconcile
from derivfleet.gateway.core.orders import Denied, NotFound, Sent, Settled, State, advance
from derivfleet.gateway.desk import Desk
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.reconciler import UNREADABLE, Reconciler
from derivfleet.gateway.upstream.connection import AnswerLostError, Connection
from derivfleet.gateway.upstream.line import Line
from tests.sim.plan import Plan
from tests.sim.runs import play

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["MUTANTS", "Catch", "Mutant", "hunt"]

TARGET = Path("build/mutants.json")
ORDERS_A_SEED = 100
MOST_ORDERS = 4_000


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: ``changes`` are (owner, name, what it makes of the original)."""

    name: str
    changes: tuple[tuple[Any, str, Callable[[Any], Any]], ...]

    @contextmanager
    def alive(self) -> Generator[None]:
        """The gateway makes this mistake for a while."""
        with ExitStack() as stack:
            for owner, name, change in self.changes:
                stack.enter_context(patch.object(owner, name, change(getattr(owner, name))))
            yield


@dataclass(frozen=True, slots=True)
class Catch:
    """Whether a mutant was caught, by what, and after how many orders."""

    name: str
    caught: bool
    orders: int
    by: str


def _sent_in_memory(move: Any) -> Any:
    def mutated(self: Desk, order: Any, event: Any) -> Any:
        if not isinstance(event, Sent):
            return move(self, order, event)
        moved = self.open[order.order_id] = advance(order, event, self._clock.now_ns())
        return moved

    return mutated


def _sent_again(code: str) -> Callable[[Any], Any]:
    def change(call: Any) -> Any:
        async def mutated(self: Line, bot: str, request: Any, *rest: Any, **named: Any) -> Any:
            try:
                return await call(self, bot, request, *rest, **named)
            except AnswerLostError as error:
                if request.call != "buy" or error.code != code:
                    raise
            return await call(self, bot, request, rest[0], *rest[1:3])

        return mutated

    return change


def _nothing_claimed(_claimed: Any) -> Any:
    def mutated(*_arguments: Any) -> set[int]:
        return set()

    return mutated


def _without_unknown(recover: Any) -> Any:
    def mutated(self: Desk) -> None:
        recover(self)
        for order_id in [name for name, order in self.open.items() if order.state is State.UNKNOWN]:
            del self.open[order_id]

    return mutated


def _never_sent(take_up: Any) -> Any:
    def mutated(self: Desk, order: Any, reason: str) -> Any:
        if order.state is State.SENT:
            return self._move(order, Denied("NOT_SENT", reason))
        return take_up(self, order, reason)

    return mutated


def _always_telling(outcome_of: Any) -> Any:
    def mutated(*arguments: Any) -> Outcome:
        found = outcome_of(*arguments)
        return Outcome.NOT_EXECUTED if found is Outcome.UNKNOWN else found

    return mutated


def _to_another(take: Any) -> Any:
    def mutated(self: Connection, text: str) -> None:
        frame: dict[str, Any] = json.loads(text) if text.startswith('{"msg_type":"buy"') else {}
        others = [
            req_id
            for req_id, entry in self._open.items()
            if entry.call == "buy" and entry.answer is None and req_id != frame.get("req_id")
        ]
        if frame.get("buy") and others:
            text = json.dumps({**frame, "req_id": others[0]})
        take(self, text)

    return mutated


def _once_allowed(buy: Any) -> Any:
    async def mutated(
        self: Desk, bot: str, order_id: str, terms: Any, deadline_ns: int, trace: Any, has_lease: Callable[[], bool]
    ) -> Any:
        asked: list[bool] = []

        def once() -> bool:
            asked.append(has_lease() if not asked else True)
            return asked[-1]

        return await buy(self, bot, order_id, terms, deadline_ns, trace, once)

    return mutated


def _for_the_payout(settle: Any) -> Any:
    def mutated(self: Desk, contract_id: int, event: Settled) -> None:
        order = self.open.get(self._by_contract.get(contract_id, ""))
        if order is not None and event.sell_price and order.payout:
            event = replace(event, sell_price=order.payout)
        settle(self, contract_id, event)

    return mutated


def _no_early_sales(settle: Any) -> Any:
    def mutated(self: Desk, contract_id: int, event: Settled) -> None:
        if contract_id in self._by_contract:
            settle(self, contract_id, event)

    return mutated


def _settled_again(settle: Any) -> Any:
    def mutated(self: Desk, contract_id: int, event: Settled) -> None:
        if contract_id in self._by_contract:
            self._ended = {**getattr(self, "_ended", {}), contract_id: self._by_contract[contract_id]}  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        elif contract_id in getattr(self, "_ended", {}):
            order = self.find(self._ended[contract_id])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            if order is not None and order.state is State.SETTLED:
                self._move(order, event)
                return
        settle(self, contract_id, event)

    return mutated


def _final_no_more(allowed: Any) -> Any:
    return {**allowed, Settled: frozenset({State.CONFIRMED, State.SETTLED})}


def _given_up(tried: Any) -> Any:
    async def mutated(self: Reconciler, step: Any) -> bool:
        if step != self._find_lost:
            return bool(await tried(self, step))
        try:
            await step()
        except UNREADABLE:
            for entry in self._lost_orders():
                self._desk.conclude(entry.order, NotFound())
        return True

    return mutated


def _whatever_the_stake(same: Any) -> Any:
    def mutated(order: Any, purchase: Any) -> bool:
        return bool(same(replace(order, terms=replace(order.terms, stake=purchase.price)), purchase))

    return mutated


def _lost_is_denied(lose: Any) -> Any:
    def mutated(self: Desk, order: Any, code: str, message: str) -> Any:
        if code == "ConnectionClosed":
            return self._move(order, Denied("NOT_SENT", message))
        return lose(self, order, code, message)

    return mutated


def _nothing(_original: Any) -> Any:
    def mutated(*_arguments: Any) -> None: ...

    return mutated


def _nothing_awaited(_original: Any) -> Any:
    async def mutated(*_arguments: Any) -> None: ...

    return mutated


def _in_memory_only(_find: Any) -> Any:
    def mutated(self: Desk, order_id: str) -> Any:
        return self.open.get(order_id)

    return mutated


def _at_once(_proven: Any) -> Any:
    def mutated(*_arguments: Any) -> bool:
        return True

    return mutated


MUTANTS = (
    Mutant("sent is written down after the sending", ((Desk, "_move", _sent_in_memory),)),
    Mutant("a purchase is sent again after a timeout", ((Line, "call", _sent_again("Timeout")),)),
    Mutant("a purchase is sent again when its socket closed", ((Line, "call", _sent_again("ConnectionClosed")),)),
    Mutant("a contract may be claimed twice", ((Journal, "claimed", _nothing_claimed),)),
    Mutant("unknown orders are forgotten at a restart", ((Desk, "recover", _without_unknown),)),
    Mutant("what was sent is denied at a restart", ((Desk, "_take_up", _never_sent),)),
    Mutant("an unknown error code is a rejection", ((desks, "outcome_of", _always_telling),)),
    Mutant("not found after the first read", ((reconcilers, "is_proven_absent", _at_once),)),
    Mutant("the receipt of another order is taken", ((Connection, "_take", _to_another),)),
    Mutant("a lease is not looked at again before the sending", ((Desk, "buy", _once_allowed),)),
    Mutant("settled with the payout", ((Desk, "settle", _for_the_payout),)),
    Mutant("a sale before the receipt is dropped", ((Desk, "settle", _no_early_sales),)),
    Mutant("settled twice", ((Desk, "settle", _settled_again), (orders, "_ALLOWED", _final_no_more))),
    Mutant("the body of a known id is not compared", ((desks, "differing_field", _nothing),)),
    Mutant("given up when the statement cannot be read", ((Reconciler, "_tried", _given_up),)),
    Mutant("a late answer is ignored", ((Desk, "_late", _nothing),)),
    Mutant("the stake is not compared with the statement", ((reconcile, "_same_terms", _whatever_the_stake),)),
    Mutant("a lost answer counts as never sent", ((Desk, "_lose", _lost_is_denied),)),
    Mutant("ids are known only while their orders are open", ((Desk, "find", _in_memory_only),)),
    Mutant("overdue contracts are not asked about", ((Reconciler, "_check_overdue", _nothing_awaited),)),
    Mutant("lost orders are not looked for", ((Reconciler, "_find_lost", _nothing_awaited),)),
)


def hunt(mutant: Mutant, most_orders: int = MOST_ORDERS) -> Catch:
    """Play seeds until the mutant is caught."""
    with mutant.alive():
        for seed in range(1, most_orders // ORDERS_A_SEED + 1):
            problems = play(Plan.of_seed(seed, ORDERS_A_SEED)).problems
            if problems:
                return Catch(mutant.name, True, seed * ORDERS_A_SEED, problems[0])
    return Catch(mutant.name, False, most_orders, "")


def main(target: Annotated[Path, typer.Option(help="where the result goes")] = TARGET) -> None:
    """Put one fault after the other into the gateway and see that the simulation of orders catches each."""
    console, began = Console(), time.monotonic()
    catches = [hunt(mutant) for mutant in track(MUTANTS, "mutants", console=console)]
    for catch in catches:
        console.print(
            f"{'caught' if catch.caught else 'MISSED'} after {catch.orders:5} orders  {catch.name}: {catch.by}"
        )
    found = {
        "caught": sum(catch.caught for catch in catches),
        "total": len(catches),
        "seconds": round(time.monotonic() - began, 1),
        "names": {catch.name: {"caught": catch.caught, "orders": catch.orders, "by": catch.by} for catch in catches},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    raise typer.Exit(found["caught"] != found["total"])


if __name__ == "__main__":
    typer.run(main)
