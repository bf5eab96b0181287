"""A kind of contract is one object here and one in the simulator: what nobody has heard of trades once both exist."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.common.rpc.status import ProblemError
from derivfleet.deriv.categories import registry
from derivfleet.deriv.categories.category import Category, ContractType, Ended, Span, form_of, refusal
from derivfleet.deriv.contracts import terms_of
from derivfleet.deriv.dialects import dialect, from_json, to_json
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.pricing import Bounds, Price, PriceSettings, cents
from derivfleet.deriv.requests import Buy, ContractParameters
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.terms import Shortcode, Terms, Timeline
from derivfleet.deriv.vocabulary import Call, ContractStatus, Dialect
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import Confirmed
from derivfleet.gateway.core.reconcile.lost_orders import LostOrder, differing_term, end_s, ending_of, judge
from derivfleet.gateway.orders import mapping
from derivfleet.gateway.reconciling import records
from derivfleet.gateway.rpc import messages
from derivfleet.simulator.core.behaviours.behaviour import Behaviour, Outcome
from derivfleet.simulator.core.behaviours.registry import BEHAVIOURS
from derivfleet.simulator.core.effects import Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.market import Market

START_S = 1_795_161_600
NS = 10**9
CANCELLED_WITHIN_S = 5

# A ladder climbs by its multiplier in per mille of the stake at every tick, until a tick ends with 0: then it is lost.
# It has no duration and never need end. It may be sold, cancelled in its first seconds, and told when to take a profit.


def _asked(parameters: ContractParameters) -> Terms:
    if parameters.multiplier is None or parameters.amount is None:
        raise refusal("OfferingsValidationError", "Please specify a multiplier and an amount.", "multiplier")
    steps = f"{parameters.multiplier:f}"
    kind, symbol = parameters.contract_type, parameters.underlying_symbol
    return Terms(kind, symbol, 0, None, parameters.amount, currency=parameters.currency, barrier=steps)


def _request(terms: Terms) -> dict[str, Any]:
    return {"multiplier": Decimal(terms.barrier or 0)}


def _check(terms: Terms) -> None:
    if terms.barrier not in ("10", "20"):
        raise refusal("MultiplierOutOfRange", "Multiplier must be 10 or 20.", "barrier")


def _price(terms: Terms, _settings: PriceSettings) -> Price:
    return Price(ask=terms.amount, payout=Decimal(0))


def _shortcode(terms: Terms, bought: Price, at: Timeline) -> str:
    return f"LADDER_{terms.symbol}_{bought.ask:.2f}_{terms.barrier}_{at.purchase_s}"


def _differing_term(terms: Terms, shown: Shortcode) -> str | None:
    return None if terms.barrier == shown.barrier else "multiplier"


def _timeline(terms: Terms, purchase_s: int) -> Timeline:
    entry_s = SYMBOLS[terms.symbol].next_tick_epoch(purchase_s)
    return Timeline(purchase_s, entry_s, None, purchase_s + 31_536_000, range(0))


def _ended(_terms: Terms, record: Ended) -> ContractStatus:
    return ContractStatus.SOLD if record.sell_price > 0 else ContractStatus.LOST


LADDERS = Category(
    name="ladder",
    title="Ladders",
    barrier_category="non_financial",
    types=(ContractType("LADDER", "up"),),
    spans=(Span("no_expiry", "0", "0"),),
    has_duration=False,
    bounds=Bounds(commission=Decimal(0), minimum_stake=Decimal(1)),
    asked=_asked,
    request=_request,
    check=_check,
    price=_price,
    greatest_loss=lambda paid: paid.ask,
    form=form_of(r"\d+\.\d\d_(?P<barrier>\d+)_(?P<start>\d{1,10})"),
    shortcode=_shortcode,
    differing_term=_differing_term,
    timeline=_timeline,
    end_s=lambda _terms, _purchase_s: None,
    exits=lambda _terms: frozenset({Call.SELL, Call.CANCEL, Call.CONTRACT_UPDATE}),
    ended=_ended,
)


def _worth(contract: Contract, epoch_s: int) -> Decimal:
    steps = (epoch_s - contract.timeline.entry_s) // SYMBOLS[contract.terms.symbol].tick_spacing_s
    return cents(contract.buy_price * (1 + steps * Decimal(contract.terms.barrier or 0) / 1000))


def _outcome(contract: Contract, market: Market, now_s: int) -> Outcome | None:
    symbol, wanted = contract.terms.symbol, contract.limits.get("take_profit")
    for epoch_s, _ in market.quotes(symbol, contract.timeline.entry_s + 1, now_s):
        if market.tick(symbol, epoch_s).digit == 0:
            return Outcome(Decimal(0), epoch_s, epoch_s)
        worth = _worth(contract, epoch_s)
        if wanted is not None and worth - contract.buy_price >= wanted:
            return Outcome(worth, epoch_s, epoch_s)
    return None


def _refund(contract: Contract, now_s: int) -> Decimal:
    if now_s > contract.timeline.purchase_s + CANCELLED_WITHIN_S:
        raise RequestRefused("CannotCancelContract", "Too late.")
    return contract.buy_price


CLIMBING = Behaviour(
    longcode=lambda terms: f"Climb on {SYMBOLS[terms.symbol].display_name} until a tick ends with 0.",
    barrier=lambda _contract, _entry: None,
    price_moves=lambda _terms: False,
    next_look_s=lambda contract, after_s: SYMBOLS[contract.terms.symbol].next_tick_epoch(after_s),
    outcome=_outcome,
    value=lambda contract, _market, _prices, now_s: _worth(contract, max(now_s, contract.timeline.entry_s)),
    refund=_refund,
)


@pytest.fixture(autouse=True)
def traded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind is known from here on: the two lists that name all kinds have one more."""
    monkeypatch.setattr(registry, "CATEGORIES", (*registry.CATEGORIES, LADDERS))
    monkeypatch.setitem(BEHAVIOURS, "ladder", CLIMBING)


WANTED = OrderTerms("LADDER", "1HZ100V", Decimal("10.00"), 0, "", "20")
BOTH = pytest.mark.parametrize("name", Dialect)


class Client:
    """A simulated service and one client of it."""

    def __init__(self, name: Dialect = Dialect.OPTIONS, seed: str = "1") -> None:
        self.exchange = Exchange(seed, Credentials("a1-TOKEN", "12345"), SimulatorSettings(), START_S)
        self.now_s = START_S
        self.codec = dialect(name)
        is_options = name is Dialect.OPTIONS
        account = self.exchange.options_account.loginid if is_options else None
        self._number = self.exchange.connect(name, "12345", "here", START_S * NS, account).number
        if not is_options:
            self.ask(authorize="a1-TOKEN")

    def ask(self, **fields: Any) -> Frame:
        effects = self.exchange.receive(self._number, to_json(fields), self.now_s * NS)
        return next(from_json(effect.text) for effect in effects if isinstance(effect, Send))

    def buy(self, terms: OrderTerms = WANTED) -> Frame:
        request = mapping.purchase(terms, "USD")
        return self.ask(**self.codec.encode_request(request, 1))

    def state(self, contract_id: int) -> Frame:
        return self.ask(proposal_open_contract=1, contract_id=contract_id)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.exchange.advance(self.now_s)

    def first_zero_s(self) -> int:
        """When the first tick after the entry ends with 0."""
        return next(
            second
            for second in range(START_S + 2, START_S + 1000)
            if self.exchange.market.tick("1HZ100V", second).digit == 0
        )


def order_of(receipt: Frame, client: Client) -> Order:
    bought = mapping.confirmed(client.codec.decode_buy(receipt))
    return Order(
        *("demo", "o", "bot", WANTED, State.CONFIRMED, START_S * NS),
        contract_id=bought.contract_id,
        buy_price=bought.buy_price,
        payout=bought.payout,
        purchase_epoch_s=bought.purchase_epoch_s,
    )


@BOTH
def test_its_request_is_written_and_read_in_either_dialect(name: Dialect) -> None:
    frame = dialect(name).encode_request(mapping.purchase(WANTED, "USD"), 7)
    asked = frame["parameters"]
    assert (asked["contract_type"], asked["multiplier"], asked["amount"], asked["basis"]) == ("LADDER", 20, 10, "stake")
    assert not {"duration", "duration_unit", "barrier"} & asked.keys()
    read = dialect(name).decode_request(from_json(to_json(frame)))
    assert isinstance(read, Buy)
    assert read.parameters is not None
    assert terms_of(read.parameters) == Terms("LADDER", "1HZ100V", 0, None, Decimal(10), barrier="20")


def test_a_bot_s_order_of_it_is_checked_as_the_kind_says() -> None:
    message: dict[str, Any] = {"contract_type": "LADDER", "symbol": "1HZ100V", "stake": "10.00", "barrier": "20"}
    assert messages.terms_of(orders_pb2.ContractTerms(**message)) == WANTED

    def field(**change: Any) -> str | None:
        with pytest.raises(ProblemError) as caught:
            messages.terms_of(orders_pb2.ContractTerms(**(message | change)))
        return caught.value.problem.field

    assert field(duration=5, duration_unit="t") == "terms.duration"
    assert field(barrier="15") == "terms.barrier"
    assert field(stake="10.005") == "terms.stake"


@BOTH
def test_the_account_s_rows_of_it_are_recognised(name: Dialect) -> None:
    client = Client(name)
    receipt = client.buy()
    (row,) = records.of_portfolio(client.codec, client.ask(portfolio=1))
    statement = client.ask(statement=1, action_type="buy", description=1)
    (listed,) = client.codec.decode_statement(statement)
    contract = client.codec.decode_contract(client.state(row.contract_id))
    assert contract is not None
    order = replace(order_of(receipt, client), state=State.UNKNOWN, contract_id=0, sent_time_ns=START_S * NS)
    other = replace(order, terms=replace(WANTED, barrier="10"))
    of_statement = records.of_statement(listed)
    assert of_statement is not None
    for purchase in (row.purchase, of_statement.purchase, records.of_contract(contract)):
        assert purchase is not None
        assert differing_term(order, purchase) is None
        assert differing_term(other, purchase) == "multiplier"
        lost = LostOrder(replace(order, lost_time_ns=(START_S + 3) * NS))
        ((_, verdict),) = judge([lost], [], [purchase], (START_S + 10) * NS)
        assert isinstance(verdict, Confirmed)
        assert verdict.contract_id == row.contract_id


def test_it_need_never_end_and_its_ticks_end_it() -> None:
    client = Client()
    order = order_of(client.buy(), client)
    assert end_s(order) is None
    zero_s = client.first_zero_s()
    client.wait(zero_s - 1 - START_S)
    open_ = client.codec.decode_contract(client.state(order.contract_id))
    assert open_ is not None
    assert mapping.settled(open_) is None
    assert open_.bid_price == Decimal(10) + (zero_s - 2 - START_S) * Decimal("0.20")
    client.wait(1)
    ended = client.codec.decode_contract(client.state(order.contract_id))
    assert ended is not None
    assert (ended.status, ended.sell_price, ended.sell_time_s, ended.exit_s) == ("lost", 0, zero_s, zero_s)
    settled = mapping.settled(ended)
    assert settled is not None
    assert settled.ending is Ending.EXPIRED
    assert ending_of(order, Decimal(0), zero_s) is Ending.EXPIRED
    assert ending_of(order, Decimal("10.20"), zero_s) is Ending.SOLD
    assert client.exchange.options_account.balance == 9990


@BOTH
def test_its_exits_are_those_that_the_kind_has(name: Dialect) -> None:
    client = Client(name, seed="3")
    assert client.first_zero_s() > START_S + CANCELLED_WITHIN_S + 5
    cancelled, sold, taken = (order_of(client.buy(), client).contract_id for _ in range(3))
    refund = client.codec.decode_cancel(client.ask(cancel=cancelled))
    assert refund.sold_for == 10
    client.wait(CANCELLED_WITHIN_S + 1)
    assert client.ask(cancel=sold)["error"]["code"] == "CannotCancelContract"
    sale = client.codec.decode_sell(client.ask(sell=sold, price=0))
    assert sale.sold_for == Decimal("11.00")
    change = {"take_profit": 1.20}
    answer = client.ask(contract_update=1, contract_id=taken, limit_order=change)
    assert answer["contract_update"]["take_profit"]["order_amount"] == Decimal("1.2")
    running = client.codec.decode_contract(client.state(taken))
    assert running is not None
    assert (running.limits, running.is_valid_to_sell) == ({"take_profit": Decimal("1.2")}, True)
    client.wait(1)
    endings: list[tuple[Decimal, Ending]] = []
    for contract_id in (cancelled, sold, taken):
        contract = client.codec.decode_contract(client.state(contract_id))
        settled = None if contract is None else mapping.settled(contract)
        assert settled is not None
        endings.append((settled.sell_price, settled.ending))
    assert endings == [
        (Decimal(10), Ending.CANCELLED),
        (Decimal("11.00"), Ending.SOLD),
        (Decimal("11.20"), Ending.EXPIRED),
    ]


@BOTH
def test_the_catalogue_and_a_proposal_show_it(name: Dialect) -> None:
    client = Client(name)
    rows = client.ask(contracts_for="1HZ100V")["contracts_for"]["available"]
    assert [row["min_contract_duration"] for row in rows if row["contract_type"] == "LADDER"] == ["0"]
    parameters = client.codec.encode_request(mapping.purchase(WANTED, "USD"), 1)["parameters"]
    offer = client.ask(proposal=1, **parameters)["proposal"]
    assert (offer["ask_price"], offer["payout"]) == (10, 0)
    refused = client.ask(proposal=1, **(parameters | {"multiplier": 15}))
    assert refused["error"]["code"] == "MultiplierOutOfRange"
