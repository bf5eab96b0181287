"""Order ids: the same decision gives the same id, different ones never do, and the wire takes all of them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.bot.core.order_ids import order_id

ALLOWED = re.compile(r"[A-Za-z0-9._:-]{1,64}")
BOTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
SYMBOLS = st.one_of(
    st.sampled_from(["R_100", "1HZ100V"]), st.from_regex(r"\w{2,30}", fullmatch=True), st.text(max_size=40)
)
DECISIONS = st.tuples(BOTS, SYMBOLS, st.integers(0, 2**33), st.integers(0, 99))


def test_an_id_can_be_read() -> None:
    assert order_id("over-4", "1HZ100V", 1_795_161_602) == "over-4:1HZ100V:1795161602:0"


@given(DECISIONS)
def test_an_id_is_what_the_contract_allows_and_always_the_same(decision: tuple[str, str, int, int]) -> None:
    assert ALLOWED.fullmatch(order_id(*decision))
    assert order_id(*decision) == order_id(*decision)


@given(DECISIONS, DECISIONS)
def test_two_decisions_never_share_an_id(one: tuple[str, str, int, int], other: tuple[str, str, int, int]) -> None:
    assert (order_id(*one) == order_id(*other)) == (one == other)


def test_names_too_long_to_be_read_still_tell_apart() -> None:
    bot, symbol = "b" * 40, "S" * 30
    ids = {
        order_id(bot, symbol, 1),
        order_id(bot, symbol + "S", 1),
        order_id(bot[1:], symbol, 1),
        order_id(bot, symbol, 2),
    }
    assert len(ids) == 4
    assert all(ALLOWED.fullmatch(key) for key in ids)
