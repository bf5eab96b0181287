from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from derivfleet.gateway.core.leases.leases import Lease, Leases

SYMBOLS = ("a", "b", "c", "d", "e")
LASTS = 30


def held(leases: list[Lease]) -> set[str]:
    return {lease.symbol for lease in leases}


def test_one_replica_holds_everything() -> None:
    leases = Leases(SYMBOLS, LASTS)
    granted = leases.renew("one", 100)
    assert held(granted) == set(SYMBOLS)
    assert {lease.expires_ns for lease in granted} == {130}
    assert all(leases.allows("one", lease.symbol, lease.epoch, 129) for lease in granted)


def test_a_second_replica_takes_its_part_and_the_first_keeps_the_rest() -> None:
    leases = Leases(SYMBOLS, LASTS)
    before = {lease.symbol: lease.epoch for lease in leases.renew("one", 100)}
    taken = leases.renew("two", 101)
    kept = {lease.symbol: lease.epoch for lease in leases.renew("one", 102)}
    assert len(taken) == 2
    assert len(kept) == 3
    assert held(taken) | set(kept) == set(SYMBOLS)
    assert all(before[symbol] == epoch for symbol, epoch in kept.items())
    for lease in taken:
        assert not leases.allows("one", lease.symbol, before[lease.symbol], 103)
        assert leases.allows("two", lease.symbol, lease.epoch, 103)


def test_a_silent_replica_loses_everything_when_its_time_is_over() -> None:
    leases = Leases(SYMBOLS, LASTS)
    (first, *_) = leases.renew("one", 100)
    leases.renew("two", 101)
    leases.renew("two", 129)
    assert leases.allows("one", first.symbol, first.epoch, 129)
    assert not leases.allows("one", first.symbol, first.epoch, 130)
    assert held(leases.renew("two", 131)) == set(SYMBOLS)
    assert leases.replicas == ("two",)


def test_who_leaves_is_replaced_at_once() -> None:
    leases = Leases(SYMBOLS, LASTS)
    leases.renew("one", 100)
    leases.renew("two", 100)
    leases.leave("one", 101)
    leases.leave("nobody", 101)
    assert held(leases.renew("two", 102)) == set(SYMBOLS)
    leases.leave("two", 103)
    assert leases.holder("a", 104) is None


def test_a_returning_replica_gets_new_epochs() -> None:
    leases = Leases(("a",), LASTS)
    (old,) = leases.renew("one", 100)
    (new,) = leases.renew("one", 200)
    assert new.epoch > old.epoch
    assert not leases.allows("one", "a", old.epoch, 201)


def test_epochs_go_on_growing_over_a_restart() -> None:
    (old,) = Leases(("a",), LASTS).renew("one", 100)
    (new,) = Leases(("a",), LASTS).renew("two", 150)
    assert new.epoch > old.epoch


def test_more_replicas_than_symbols_leaves_some_idle() -> None:
    leases = Leases(("a",), LASTS)
    assert held(leases.renew("one", 100)) == {"a"}
    assert leases.renew("two", 101) == []
    assert held(leases.renew("one", 102)) == {"a"}


@given(
    st.lists(st.sampled_from(["one", "two", "three", "four"]), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=4, unique=True),
)
def test_no_more_symbols_move_than_must(before: list[str], after: list[str]) -> None:
    leases = Leases(SYMBOLS, LASTS)
    for replica in before:
        leases.renew(replica, 100)
    old = {symbol: holder.replica for symbol in SYMBOLS if (holder := leases.holder(symbol, 101)) is not None}
    for replica in set(before) - set(after):
        leases.leave(replica, 102)
    for replica in after:
        leases.renew(replica, 103)
    if not after:
        return
    new = {symbol: holder.replica for symbol in SYMBOLS if (holder := leases.holder(symbol, 104)) is not None}
    moved = sum(old[symbol] != new[symbol] for symbol in SYMBOLS)
    orphans = sum(old[symbol] not in after for symbol in SYMBOLS)
    # Coming and going one after the other may move a few twice; those who stay never swap symbols among themselves.
    stayed = [symbol for symbol in SYMBOLS if old[symbol] in after and new[symbol] != old[symbol]]
    newcomers = set(after) - set(before)
    assert all(new[symbol] in newcomers or orphans for symbol in stayed)
    assert moved <= len(SYMBOLS)


class LeaseLife(RuleBasedStateMachine):
    """Replicas come, renew, fall silent and leave; the model is a list of who was granted what, when."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(SYMBOLS, LASTS)
        self.now = 1000
        self.granted: list[Lease] = []
        self.seen: dict[str, int] = {}

    @rule(replica=st.sampled_from(["one", "two", "three"]), wait=st.integers(0, 20))
    def renew(self, replica: str, wait: int) -> None:
        self.now += wait
        mine = self.leases.renew(replica, self.now)
        self.seen[replica] = self.now
        self.granted += mine
        living = [name for name, seen in self.seen.items() if self.now < seen + LASTS]
        assert abs(len(mine) - len(SYMBOLS) / len(living)) < 1

    @rule(replica=st.sampled_from(["one", "two", "three"]))
    def leave(self, replica: str) -> None:
        self.leases.leave(replica, self.now)
        self.seen.pop(replica, None)

    @rule(wait=st.integers(0, 40))
    def pass_time(self, wait: int) -> None:
        self.now += wait

    @invariant()
    def no_symbol_has_two_holders_that_may_trade(self) -> None:
        for symbol in SYMBOLS:
            allowed = {
                (lease.replica, lease.epoch)
                for lease in self.granted
                if lease.symbol == symbol and self.leases.allows(lease.replica, symbol, lease.epoch, self.now)
            }
            assert len(allowed) <= 1
            for replica, _ in allowed:
                assert self.now < self.seen[replica] + LASTS

    @invariant()
    def every_symbol_is_held_while_somebody_lives(self) -> None:
        if any(self.now < seen + LASTS for seen in self.seen.values()):
            assert all(self.leases.holder(symbol, self.now) is not None for symbol in SYMBOLS)


LeaseLife.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestLeaseLife = LeaseLife.TestCase
