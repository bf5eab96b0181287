from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.orders.clock_skew import NEAREST, Skew
from derivfleet.gateway.core.orders.order import Attribution, Order, OrderTerms, State

S = 10**9
NOW_NS = 1_790_000_000 * S
ORDER = Order("main", "one", "ada", OrderTerms("CALL", "R_100", Decimal(1), 5, "t"), State.CONFIRMED, NOW_NS)


def receipt(sent_ns: int, ahead_ns: int, took_ns: int = S // 10) -> Order:
    """As Deriv writes it: the second of its own clock, in the midst of the call."""
    epoch_s = (sent_ns + took_ns // 2 + ahead_ns) // S
    return replace(
        ORDER,
        sent_time_ns=sent_ns,
        answered_time_ns=sent_ns + took_ns,
        purchase_epoch_s=epoch_s,
        attribution=Attribution.RECEIPT,
    )


def test_without_receipts_the_clocks_are_the_same() -> None:
    assert Skew().ahead_ns(NOW_NS) == 0


@given(st.integers(-5 * S, 5 * S), st.lists(st.integers(0, 3600 * S), min_size=1, max_size=40))
def test_it_is_right_to_half_a_second(ahead_ns: int, sent: list[int]) -> None:
    skew = Skew()
    for at_ns in sent:
        skew.see(receipt(NOW_NS + at_ns, ahead_ns))
    assert abs(skew.ahead_ns(NOW_NS) - ahead_ns) <= S // 2


def test_a_few_wrong_ones_do_not_count_and_a_clock_that_was_set_is_followed() -> None:
    skew = Skew()
    for index in range(NEAREST):
        skew.see(receipt(NOW_NS, S, 20 * S if index % 3 == 0 else S // 10))
    for index in range(NEAREST // 2 + 1):
        skew.see(receipt(NOW_NS + (60 + index) * S, -S))
    assert abs(skew.ahead_ns(NOW_NS) - S) <= S // 2
    assert abs(skew.ahead_ns(NOW_NS + 60 * S) + S) <= S // 2


def test_what_the_records_or_a_late_answer_tell_is_no_measure_of_the_clock() -> None:
    skew = Skew()
    skew.see(replace(receipt(NOW_NS, 4 * S), reconciled=True))
    for how in Attribution:
        if how is not Attribution.RECEIPT:
            skew.see(replace(receipt(NOW_NS, 4 * S), attribution=how))
    assert skew.ahead_ns(NOW_NS) == 0
