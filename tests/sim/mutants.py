"""Faults put into the gateway, one at a time, to see that the simulation catches each: ``python -m tests.sim.mutants``.

Each breaks one rule of ``docs/orders.md`` as a plausible mistake would. Written to ``build/mutants.json``.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unittest.mock import patch

import typer
from rich.console import Console
from rich.progress import track

from derivfleet.connection.connection import Connection
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.leases.leases import Leases
from derivfleet.gateway.core.orders import operations, transitions
from derivfleet.gateway.core.orders.clock_skew import Skew
from derivfleet.gateway.core.orders.exit import EXIT
from derivfleet.gateway.core.orders.operations import Walk
from derivfleet.gateway.core.orders.order import PURCHASE
from derivfleet.gateway.core.reconcile import lost_orders as reconcile
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.recent_orders import RecentOrders
from derivfleet.gateway.orders import exits, purchases, registry
from derivfleet.gateway.orders.account_orders import AccountOrders
from derivfleet.gateway.orders.checks import DoubtCheck
from derivfleet.gateway.orders.exits import ExitOperation, Exits
from derivfleet.gateway.orders.operations import Operations
from derivfleet.gateway.orders.purchases import Purchases
from derivfleet.gateway.orders.registry import OrderRegistry
from derivfleet.gateway.orders.settlements import Settlements
from derivfleet.gateway.reconciling import evidence, lost_exits, lost_orders, overdue_contracts, records, resolutions
from derivfleet.gateway.reconciling.evidence import Evidence
from derivfleet.gateway.reconciling.lost_exits import LostExits
from derivfleet.gateway.reconciling.lost_orders import LostOrders
from derivfleet.gateway.reconciling.overdue_contracts import OverdueContracts
from derivfleet.gateway.upstream import pool
from derivfleet.gateway.upstream.client import AccountClient
from derivfleet.gateway.upstream.streams import StandingStream
from tests.sim import answer_mutations, exit_mutations, purchase_mutations, reconciling_mutations
from tests.sim.plan import Plan
from tests.sim.purchase_mutations import always, nothing, nothing_awaited
from tests.sim.runs import play

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["MUTANTS", "Catch", "Mutant", "hunt"]

TARGET = Path("build/mutants.json")
ORDERS_A_SEED = 100
MOST_ORDERS = 4_000


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake against a rule: ``changes`` are (owner, name, what it makes of the original)."""

    rule: int
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
    """Whether a mistake was caught, after how many orders, by what, and in which seed."""

    caught: bool
    orders: int
    by: str
    seed: int = 0


def _one(rule: int, name: str, owner: Any, what: str, change: Callable[[Any], Any]) -> Mutant:
    return Mutant(rule, name, ((owner, what, change),))


MUTANTS = (
    _one(1, "sent is written down after the sending", OrderRegistry, "move", purchase_mutations.sent_in_memory),
    _one(1, "a purchase that cannot be written down is sent", OrderRegistry, "move", answer_mutations.written_or_not),
    _one(2, "a known id is answered to the symbol's holder alone", Purchases, "buy", answer_mutations.to_the_holder),
    _one(2, "the first answer is given for ever", Purchases, "buy", answer_mutations.as_before),
    _one(2, "who follows one bot's orders is not woken", Feed, "_take", answer_mutations.to_nobody_alone),
    _one(2, "of transitions at once the last is told", Feed, "_after", answer_mutations.only_the_last),
    _one(2, "only the stake of a known id is compared", purchases, "differing_field", answer_mutations.only_the_stake),
    _one(2, "the body of a known id is not compared", purchases, "differing_field", nothing),
    _one(2, "ids are known only while their orders are open", OrderRegistry, "find", purchase_mutations.in_memory_only),
    _one(
        3,
        "a purchase is sent again after a timeout",
        AccountClient,
        "call",
        purchase_mutations.sent_again("buy", "Timeout"),
    ),
    _one(
        *(3, "a purchase is sent again when its socket closed"),
        *(AccountClient, "call", purchase_mutations.sent_again("buy", "ConnectionClosed")),
    ),
    _one(
        3, "an unknown order is sent again when it is asked for again", Purchases, "buy", purchase_mutations.bought_anew
    ),
    _one(
        4, "an unknown error code is a rejection", operations, "outcome_of", purchase_mutations.always_telling(Call.BUY)
    ),
    _one(
        *(4, "codes are believed only if asking for something else helps"),
        *(operations, "outcome_of", answer_mutations.only_if_something_else_helps),
    ),
    _one(4, "an answer without a type was never asked for", Connection, "_judge", answer_mutations.unsent_if_malformed),
    _one(4, "what the socket failed on was not sent", Connection, "transmit", answer_mutations.handed_over_if_sent),
    _one(4, "an unreadable receipt is a rejection", Operations, "_answered", purchase_mutations.unreadable_is_rejected),
    _one(4, "a lost answer counts as never sent", Walk, "unanswered", purchase_mutations.lost_is_denied),
    _one(4, "a late answer is ignored", Operations, "_late", nothing),
    _one(4, "the receipt of another order is taken", Connection, "_take", purchase_mutations.to_another),
    _one(5, "unknown orders are forgotten at a restart", AccountOrders, "recover", purchase_mutations.without_unknown),
    _one(5, "what was sent is denied at a restart", Walk, "abandoned", purchase_mutations.never_sent(PURCHASE)),
    _one(6, "a lease is not looked at again before the sending", Purchases, "buy", purchase_mutations.once_allowed),
    _one(6, "a lease that has changed hands and come back is taken", Leases, "allows", reconciling_mutations.any_epoch),
    _one(6, "epochs begin again at a restart", Leases, "_divide", answer_mutations.counted_from_one),
    _one(6, "a lease is never lost", Leases, "allows", reconciling_mutations.once_held),
    *(
        _one(7, f"the {what} is not compared with the records", reconcile, "differing_term", change)
        for what, change in (
            ("type", purchase_mutations.whatever_the("contract_type")),
            ("symbol", purchase_mutations.whatever_the("symbol")),
            ("barrier", purchase_mutations.whatever_the("barrier")),
            ("duration", purchase_mutations.whatever_the_duration),
            ("stake", purchase_mutations.whatever_the("stake")),
        )
    ),
    _one(7, "the time is not compared with the records", reconcile, "_in_time", always(True)),
    _one(7, "an order was sent when it was intended", registry, "advance", answer_mutations.sent_when_intended),
    _one(7, "an answer is lost anew with each restart", AccountOrders, "recover", answer_mutations.lost_anew),
    Mutant(
        8,
        "a contract may be claimed twice",
        (
            (Journal, "claimed", purchase_mutations.nothing_claimed),
            (Journal, "_open", purchase_mutations.without_index),
            (RecentOrders, "keep", purchase_mutations.without_claims),
        ),
    ),
    _one(9, "orders that are alike are never matched", lost_orders, "judge", purchase_mutations.only_alone),
    _one(9, "each lost order is judged for itself", lost_orders, "judge", purchase_mutations.each_for_itself),
    _one(
        *(9, "what the stream shows goes to the first order like it"),
        *(LostOrders, "look_at_sightings", purchase_mutations.seen_is_matched),
    ),
    _one(
        9,
        "of orders judged together the first is written alone",
        lost_orders,
        "judge",
        reconciling_mutations.the_first_alone,
    ),
    _one(
        10,
        "fewer purchases than orders are given out at once",
        lost_orders,
        "judge",
        purchase_mutations.at_once_if_fewer,
    ),
    _one(7, "the clocks are taken to be far apart", Skew, "ahead_ns", reconciling_mutations.far_apart),
    _one(10, "purchases go to whose time ends first", reconcile, "_paired", reconciling_mutations.to_the_first),
    _one(
        10, "fewer purchases than orders are never given out", lost_orders, "judge", purchase_mutations.never_if_fewer
    ),
    _one(11, "purchases of orders in flight are taken", OrderRegistry, "in_flight", purchase_mutations.none_of_them),
    _one(12, "not found after the first read", reconcile, "is_proven_absent", purchase_mutations.read_once),
    _one(12, "not found after two reads, however early", reconcile, "is_proven_absent", purchase_mutations.read_early),
    _one(
        *(12, "absence is counted from the sending"),
        *(reconcile, "is_proven_absent", reconciling_mutations.since_the_sending),
    ),
    _one(12, "an answer was lost when its order was sent", registry, "advance", answer_mutations.lost_at_the_sending),
    Mutant(
        12,
        "the first page of a statement is all of it",
        ((records, "statement", answer_mutations.always_whole), (records, "MOST_PAGES", lambda _: 1)),
    ),
    _one(12, "what was not read counts as read", LostOrders, "_take_stock", reconciling_mutations.whether_or_not_read),
    Mutant(
        13,
        "what was not found is not watched",
        ((registry, "is_watched", always(False)), (lost_orders, "is_watched", always(False))),
    ),
    Mutant(
        13,
        "what was not found is watched for a minute",
        (
            (registry, "is_watched", reconciling_mutations.for_a_minute),
            (lost_orders, "is_watched", reconciling_mutations.for_a_minute),
        ),
    ),
    _one(13, "the watch ends with a restart", AccountOrders, "recover", reconciling_mutations.without_watched),
    _one(14, "a bot may buy again what is in doubt", DoubtCheck, "taken", nothing),
    _one(14, "an order in doubt holds up itself", Purchases, "buy", answer_mutations.after_its_own_doubt),
    _one(14, "a doubt stays when the order is found", registry, "advance", answer_mutations.in_doubt_still),
    _one(14, "one order in doubt holds up all others", DoubtCheck, "taken", purchase_mutations.whoever_asks),
    _one(14, "doubts are forgotten at a restart", AccountOrders, "recover", purchase_mutations.without_doubts),
    _one(15, "foreign trades are not told", Evidence, "is_foreign", nothing),
    _one(15, "what waits for its answer is called foreign", evidence, "looks_like", always(False)),
    _one(15, "foreign trades are forgotten on restart", Evidence, "recall", nothing),
    _one(15, "what is like a foreign trade is matched blindly", Evidence, "is_foreign_like", always(False)),
    _one(16, "each lost order has a statement of its own", LostOrders, "_serve", reconciling_mutations.for_the_first),
    _one(16, "the portfolio is not read", reconcile, "PLAN", reconciling_mutations.without_the_portfolio),
    _one(16, "an account without any socket is in no hurry", pool, "BEREFT_S", lambda _: 30.0),
    _one(16, "the statement is read each minute, and not before", reconcile, "PLAN", reconciling_mutations.each_minute),
    _one(17, "given up when the statement cannot be read", LostOrders, "read_lists", purchase_mutations.given_up),
    _one(17, "that nothing can be read is not told", lost_orders, "is_unreadable", always(False)),
    _one(17, "what cannot be read is in doubt too soon", reconcile, "UNREADABLE_AFTER_S", lambda _: 15.0),
    _one(17, "a doubt never ends", LostOrders, "_take_stock", purchase_mutations.doubt_is_final),
    _one(18, "a sale is sent before it is written down", OrderRegistry, "move", exit_mutations.sent_in_memory),
    _one(
        *(18, "a sale is sent again when its socket closed"),
        *(AccountClient, "call", purchase_mutations.sent_again("sell", "ConnectionClosed")),
    ),
    _one(18, "another sale may follow while one is undecided", exits, "in_the_way", nothing),
    _one(18, "the terms of a known exit are not compared", exits, "differing_exit_field", nothing),
    _one(18, "a decided exit's id is forgotten", Exits, "carry_out", exit_mutations.forgotten_once_decided),
    _one(18, "a sale that was sent is denied at a restart", Walk, "abandoned", purchase_mutations.never_sent(EXIT)),
    _one(19, "a lost sale is taken for not done at once", lost_exits, "is_late_enough", always(True)),
    _one(
        *(19, "the answer to a sale was lost when it was sent"),
        *(transitions, "advance_exit", answer_mutations.exit_lost_at_the_sending),
    ),
    _one(19, "the contract of a lost sale is not looked at", LostExits, "due", purchase_mutations.none_of_them),
    _one(19, "a lost sale counts as never sent", Walk, "unanswered", exit_mutations.lost_is_denied),
    _one(19, "a lost sale counts as done", ExitOperation, "step", exit_mutations.lost_is_done),
    _one(
        19,
        "an unknown error code rejects a sale",
        operations,
        "outcome_of",
        purchase_mutations.always_telling(Call.SELL),
    ),
    _one(
        20,
        "the exits of an ended contract are left in doubt",
        transitions,
        "after_the_end",
        exit_mutations.left_as_they_are,
    ),
    _one(
        *(20, "a contract's end says nothing about its exits"),
        *(transitions, "after_the_end", exit_mutations.whichever_way_it_ended),
    ),
    _one(21, "lost orders are not looked for", LostOrders, "conclude", nothing_awaited),
    _one(21, "the transactions are listened to once", StandingStream, "_open", answer_mutations.opened_once),
    _one(21, "overdue contracts are asked about a minute later", overdue_contracts, "OVERDUE_AFTER_S", lambda _: 60.0),
    _one(21, "overdue contracts are not asked about", OverdueContracts, "look", nothing_awaited),
    _one(21, "a sale before the receipt is dropped", Settlements, "settle", purchase_mutations.no_early_sales),
    _one(21, "settled with the payout", OrderRegistry, "settle", purchase_mutations.for_the_payout),
    Mutant(
        21,
        "settled twice",
        (
            (OrderRegistry, "settle", purchase_mutations.settled_again),
            (transitions, "_ALLOWED", purchase_mutations.final_no_more),
        ),
    ),
    _one(22, "whose word it was is not written down", registry, "advance", answer_mutations.by_nobody),
    _one(22, "an operator may name what was not ordered", resolutions, "differing_term", nothing),
    _one(23, "a receipt for nothing is never doubted", OverdueContracts, "_look_for_purchases", nothing_awaited),
    _one(
        *(23, "a receipt for nothing is doubted after one look at the lists"),
        *(OverdueContracts, "_look_for_purchases", reconciling_mutations.missing_at_once),
    ),
    _one(23, "a receipt for nothing is taken for not bought", OrderRegistry, "move", reconciling_mutations.not_bought),
    _one(
        23, "nobody is shown what was bought instead", OrderRegistry, "move", reconciling_mutations.without_candidates
    ),
    _one(
        23,
        "a sale in doubt keeps a receipt from being doubted",
        overdue_contracts,
        "_is_at_rest",
        reconciling_mutations.once_exits_are_decided,
    ),
)


SHOWN_BY = {
    "a bot may buy again what is in doubt": 12,
    "a contract may be claimed twice": 3,
    "a decided exit's id is forgotten": 11,
    "a doubt never ends": 21,
    "a late answer is ignored": 75,
    "a lease is not looked at again before the sending": 9,
    "a lease that has changed hands and come back is taken": 2,
    "a lost sale counts as done": 40,
    "a lost sale counts as never sent": 6,
    "a lost sale is taken for not done at once": 3,
    "a purchase is sent again after a timeout": 8,
    "a purchase that cannot be written down is sent": 10,
    "a receipt for nothing is doubted after one look at the lists": 5,
    "a receipt for nothing is never doubted": 5,
    "a receipt for nothing is taken for not bought": 5,
    "a sale before the receipt is dropped": 4,
    "a sale in doubt keeps a receipt from being doubted": 1004,
    "a sale is sent again when its socket closed": 3,
    "a sale is sent before it is written down": 6,
    "a sale that was sent is denied at a restart": 10,
    "foreign trades are forgotten on restart": 4,
    "absence is counted from the sending": 3,
    "an account without any socket is in no hurry": 1192,
    "an answer without a type was never asked for": 3,
    "an operator may name what was not ordered": 3,
    "an unknown error code is a rejection": 6,
    "an unknown error code rejects a sale": 3,
    "an unreadable receipt is a rejection": 5,
    "another sale may follow while one is undecided": 42,
    "doubts are forgotten at a restart": 4,
    "each lost order has a statement of its own": 4,
    "each lost order is judged for itself": 7,
    "fewer purchases than orders are given out at once": 2,
    "fewer purchases than orders are never given out": 23,
    "given up when the statement cannot be read": 3,
    "nobody is shown what was bought instead": 5,
    "of orders judged together the first is written alone": 5,
    "one order in doubt holds up all others": 4,
    "orders that are alike are never matched": 4,
    "overdue contracts are asked about a minute later": 3,
    "purchases go to whose time ends first": 3872,
    "purchases of orders in flight are taken": 5,
    "sent is written down after the sending": 2,
    "that nothing can be read is not told": 4,
    "the barrier is not compared with the records": 9,
    "the clocks are taken to be far apart": 8,
    "the contract of a lost sale is not looked at": 30,
    "the duration is not compared with the records": 5,
    "the portfolio is not read": 6,
    "the stake is not compared with the records": 4,
    "the statement is read each minute, and not before": 10,
    "the symbol is not compared with the records": 5,
    "the terms of a known exit are not compared": 4,
    "the time is not compared with the records": 5,
    "the type is not compared with the records": 5,
    "the watch ends with a restart": 9,
    "what is like a foreign trade is matched blindly": 5,
    "what cannot be read is in doubt too soon": 4,
    "what the stream shows goes to the first order like it": 11,
    "what waits for its answer is called foreign": 7,
    "what was not found is not watched": 3,
    "what was not found is watched for a minute": 4,
}
"""Seeds that are known to show a mistake; the hunt for it begins there, else with the first."""


def hunt(mutant: Mutant, most_orders: int = MOST_ORDERS) -> Catch:
    """Play seeds until the mutant is caught."""
    with mutant.alive():
        for played in range(most_orders // ORDERS_A_SEED):
            seed = SHOWN_BY.get(mutant.name, 1) + played
            problems = play(Plan.of_seed(seed, ORDERS_A_SEED)).problems
            if problems:
                return Catch(True, (played + 1) * ORDERS_A_SEED, problems[0], seed)
    return Catch(False, most_orders, "")


def _hunt_number(number: int) -> Catch:
    return hunt(MUTANTS[number])


def _hunted(numbers: list[int], jobs: int) -> Iterator[Catch]:
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(_hunt_number, numbers)


def main(
    rules: Annotated[list[int] | None, typer.Option("--rule", help="only the mistakes against this rule")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    target: Annotated[Path, typer.Option(help="where the result goes")] = TARGET,
) -> None:
    """Put one fault after the other into the gateway and see that the simulation of orders catches each."""
    console, began = Console(), time.monotonic()
    numbers = [number for number, mutant in enumerate(MUTANTS) if not rules or mutant.rule in rules]
    if not numbers:
        raise typer.BadParameter("no mistake breaks such a rule", param_hint="--rule")
    catches = list(track(_hunted(numbers, jobs), "mutants", len(numbers), console=console))
    for number, catch in zip(numbers, catches, strict=True):
        mutant = MUTANTS[number]
        console.print(
            f"{'caught' if catch.caught else 'MISSED'} after {catch.orders:5} orders  "
            f"{mutant.rule:2} {mutant.name}: {catch.by}"
        )
    found = {
        "caught": sum(catch.caught for catch in catches),
        "total": len(catches),
        "seconds": round(time.monotonic() - began, 1),
        "names": {
            MUTANTS[number].name: {"rule": MUTANTS[number].rule, **asdict(catch)}
            for number, catch in zip(numbers, catches, strict=True)
        },
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    raise typer.Exit(found["caught"] != found["total"])


if __name__ == "__main__":
    typer.run(main)
