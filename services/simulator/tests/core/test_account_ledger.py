"""The ledger is right to the cent: settled once, on time, as the ticks say."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.categories.registry import contract_types
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.pricing import Price, PriceSettings
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.terms import Terms
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Basis, DurationUnit
from derivfleet.simulator.core.account_ledger import Account, AccountLedger
from derivfleet.simulator.core.market import Market

if TYPE_CHECKING:
    from derivfleet.simulator.core.contracts import Contract

NOW_S = 1_795_161_600
LOGIN = "DOT90000001"
MUCH = Decimal(100_000)
WITH_DIGIT = ("DIGITMATCH", "DIGITDIFF", "DIGITOVER", "DIGITUNDER")


def ledger(balance: str = "10000.00", delay_s: int = 0, seed: str = "1") -> AccountLedger:
    made = AccountLedger(Market(seed), PriceSettings(), delay_s, NOW_S)
    made.open_account(LOGIN, "USD", Decimal(balance), is_demo=True)
    return made


def terms(kind: str = "CALL", duration: int = 5, unit: DurationUnit = DurationUnit.TICKS, **more: Any) -> Terms:
    more.setdefault("barrier", "4" if kind in WITH_DIGIT else None)
    more.setdefault("symbol", "1HZ100V")
    more.setdefault("amount", Decimal("1.00"))
    return Terms(kind, duration=duration, unit=unit, **more)


def should_pay(seed: str, contract: Contract) -> Decimal:
    """The outcome found in another way: walk over the raw ticks and judge their texts."""
    asked = contract.terms
    decimals = SYMBOLS[asked.symbol].decimals
    later = [
        (epoch, f"{quote:.{decimals}f}")
        for epoch, quote in quotes(seed, asked.symbol, contract.timeline.purchase_s, contract.timeline.purchase_s + 100)
        if epoch > contract.timeline.purchase_s
    ]
    if asked.unit is not DurationUnit.TICKS:
        end_s = contract.timeline.purchase_s + asked.duration * (60 if asked.unit is DurationUnit.MINUTES else 1)
        exit_ = [text for epoch, text in later if epoch <= end_s][-1]
    elif asked.contract_type.startswith("DIGIT"):
        exit_ = later[asked.duration - 1][1]
    else:
        exit_ = later[asked.duration][1]
    change, digit, barrier = Decimal(exit_) - Decimal(later[0][1]), int(exit_[-1]), int(asked.barrier or 0)
    wins = {
        "CALL": change > 0,
        "PUT": change < 0,
        "CALLE": change >= 0,
        "PUTE": change <= 0,
        "DIGITMATCH": digit == barrier,
        "DIGITDIFF": digit != barrier,
        "DIGITOVER": digit > barrier,
        "DIGITUNDER": digit < barrier,
        "DIGITEVEN": digit % 2 == 0,
        "DIGITODD": digit % 2 == 1,
    }[asked.contract_type]
    return contract.payout if wins else Decimal(0)


@dataclass(frozen=True)
class Step:
    kind: str
    symbol: str
    duration: int
    timed: bool
    cents: int
    pause_s: int
    sell: bool


STEPS = st.builds(
    Step,
    kind=st.sampled_from(contract_types()),
    symbol=st.sampled_from(["R_10", "R_100", "1HZ10V", "1HZ100V"]),
    duration=st.integers(1, 10),
    timed=st.booleans(),
    cents=st.integers(35, 5_000),
    pause_s=st.integers(0, 30),
    sell=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25), seed=st.sampled_from(["1", "2", "3"]), delay_s=st.integers(0, 2))
def test_every_contract_ends_once_as_its_ticks_say_and_no_cent_is_lost(
    steps: list[Step], seed: str, delay_s: int
) -> None:
    made, now_s = ledger("200.00", delay_s, seed), NOW_S
    account = made.accounts[LOGIN]
    sold: set[int] = set()
    for step in steps:
        timed = step.timed and not step.kind.startswith("DIGIT")
        wanted = terms(
            step.kind,
            step.duration + (20 if timed else 0),
            DurationUnit.SECONDS if timed else DurationUnit.TICKS,
            symbol=step.symbol,
            amount=Decimal(step.cents).scaleb(-2),
        )
        if wanted.amount > account.balance:
            with pytest.raises(RequestRefused, match="InsufficientBalance"):
                made.buy(LOGIN, wanted, MUCH, "12345", now_s)
            continue
        contract, _ = made.buy(LOGIN, wanted, MUCH, "12345", now_s)
        for _ in range(step.pause_s):
            now_s += 1
            made.settle_due(now_s)
        if step.sell and timed and contract.timeline.entry_s <= now_s < (contract.timeline.decided_s or 0):
            made.sell(LOGIN, contract.contract_id, Decimal(0), "12345", now_s)
            sold.add(contract.contract_id)
    made.settle_due(now_s + 100)
    assert_right_to_the_cent(account, seed, sold, delay_s)
    assert made.settle_due(now_s + 10_000) == []


def assert_right_to_the_cent(account: Account, seed: str, sold: set[int], delay_s: int) -> None:
    running = account.start_balance
    for movement in account.movements:
        running += movement.amount
        assert movement.balance_after == running
        assert running >= 0
    assert account.balance == running
    assert not account.open
    ids = [movement.transaction_id for movement in account.movements] + list(account.contracts)
    assert len(ids) == len(set(ids))
    assert all(len(str(number)) == 12 and str(number).endswith("8") for number in ids)
    for contract in account.contracts.values():
        moves = [movement for movement in account.movements if movement.contract_id == contract.contract_id]
        assert [move.action for move in moves] == ["buy", "sell"]
        assert moves[0].amount == -contract.buy_price
        assert contract.sale is not None
        assert moves[1].amount == contract.sale.price
        if contract.contract_id in sold:
            assert contract.sale.by_client
            assert 0 <= contract.sale.price <= contract.payout
        else:
            assert contract.sale.price == should_pay(seed, contract)
            assert contract.sale.time_s == max(contract.timeline.exit_s or 0, contract.timeline.expiry_s) + delay_s


def test_a_contract_is_settled_in_the_second_of_its_exit_tick_and_not_before() -> None:
    made = ledger()
    contract, _ = made.buy(LOGIN, terms("DIGITODD", 1), MUCH, "12345", NOW_S)
    assert made.settle_due(NOW_S) == []
    ((settled, movement),) = made.settle_due(NOW_S + 1)
    assert settled is contract
    assert movement.time_s == NOW_S + 1


def test_late_settlements_are_booked_in_order_of_their_time() -> None:
    made = ledger()
    for duration in (5, 1, 3):
        made.buy(LOGIN, terms("DIGITODD", duration), MUCH, "12345", NOW_S)
    assert [movement.time_s - NOW_S for _, movement in made.settle_due(NOW_S + 60)] == [1, 3, 5]


@pytest.mark.parametrize(
    ("wanted", "most", "code"),
    [
        (terms(), "0.99", "ContractCreationFailure"),
        (terms(amount=Decimal(10), basis=Basis.PAYOUT), "5.10", "PriceMoved"),
        (terms(amount=Decimal(5000)), "5000", "InsufficientBalance"),
        (terms(currency="EUR"), "1", "NotDefaultCurrency"),
        (terms(amount=Decimal("0.34")), "1", "ContractBuyValidationError"),
    ],
)
def test_a_refused_purchase_changes_nothing(wanted: Terms, most: str, code: str) -> None:
    made = ledger("4999.99")
    with pytest.raises(RequestRefused) as caught:
        made.buy(LOGIN, wanted, Decimal(most), "12345", NOW_S)
    assert caught.value.code == code
    account = made.accounts[LOGIN]
    assert (account.balance, account.movements, account.contracts) == (Decimal("4999.99"), [], {})
    assert made.settle_due(NOW_S + 100) == []


def test_the_last_cent_can_be_spent() -> None:
    made = ledger("1.00")
    _, movement = made.buy(LOGIN, terms(), Decimal(1), "12345", NOW_S)
    assert movement.balance_after == 0


def test_a_quoted_price_is_kept() -> None:
    made = ledger()
    contract, _ = made.buy(LOGIN, terms(), Decimal(1), "12345", NOW_S, Price(Decimal("1.00"), Decimal("1.99")))
    assert contract.payout == Decimal("1.99")
    assert contract.shortcode == f"CALL_1HZ100V_1.99_{NOW_S}_5T_S0P_0"


def test_a_purchase_by_payout_is_charged_the_ask() -> None:
    made = ledger()
    contract, movement = made.buy(
        LOGIN, terms("DIGITEVEN", 1, amount=Decimal(10), basis=Basis.PAYOUT), Decimal(6), "12345", NOW_S
    )
    assert (contract.buy_price, contract.payout) == (Decimal("5.10"), Decimal(10))
    assert movement.amount == Decimal("-5.10")


def test_what_cannot_be_sold_back_is_refused() -> None:
    made = ledger()
    in_ticks, _ = made.buy(LOGIN, terms(), MUCH, "12345", NOW_S)
    timed, _ = made.buy(LOGIN, terms(duration=30, unit=DurationUnit.SECONDS), MUCH, "12345", NOW_S)

    def code(contract_id: int, least: str, now_s: int) -> str:
        with pytest.raises(RequestRefused) as caught:
            made.sell(LOGIN, contract_id, Decimal(least), "12345", now_s)
        return caught.value.code

    assert code(in_ticks.contract_id, "0", NOW_S + 2) == "ResaleNotOffered"
    assert code(timed.contract_id, "0", NOW_S) == "SameStartSellTime"
    assert code(timed.contract_id, "1.95", NOW_S + 5) == "PriceMoved"
    assert code(timed.contract_id, "0", NOW_S + 30) == "BetExpired"
    assert code(1, "0", NOW_S + 5) == "ContractNotFound"
    made.sell(LOGIN, timed.contract_id, Decimal(0), "12345", NOW_S + 5)
    assert code(timed.contract_id, "0", NOW_S + 6) == "ContractAlreadySold"
    assert [contract.contract_id for contract, _ in made.settle_due(NOW_S + 100)] == [in_ticks.contract_id]


def test_two_runs_do_not_share_ids() -> None:
    early = ledger()
    late = AccountLedger(Market("1"), PriceSettings(), 0, NOW_S + 60)
    late.open_account(LOGIN, "USD", Decimal(10_000), is_demo=True)
    first = [early.buy(LOGIN, terms(), MUCH, "1", NOW_S)[0].contract_id for _ in range(100)]
    second = [late.buy(LOGIN, terms(), MUCH, "1", NOW_S + 60)[0].contract_id for _ in range(100)]
    assert max(first) < min(second)


def test_a_demo_account_can_be_brought_back_to_its_start() -> None:
    made = ledger()
    assert made.reset_balance(LOGIN, NOW_S) is None
    made.buy(LOGIN, terms(), MUCH, "1", NOW_S)
    movement = made.reset_balance(LOGIN, NOW_S)
    assert movement is not None
    assert (movement.action, movement.amount, movement.balance_after) == ("deposit", Decimal(1), Decimal(10_000))
