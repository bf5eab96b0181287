"""The simulated service: sockets come and go, requests are answered, time passes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.answers import ContractState, ErrorAnswer, Quote
from derivfleet.deriv.contracts import course_of
from derivfleet.deriv.dialects import dialect, from_json, to_json
from derivfleet.deriv.errors import MalformedFrame, RequestRefused
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.simulator.core import account_calls, broadcasts, market_calls, server_calls, trade_calls
from derivfleet.simulator.core.book import Book
from derivfleet.simulator.core.connection import Connection
from derivfleet.simulator.core.contracts import longcode_of, state_of
from derivfleet.simulator.core.effects import Close, Effect, Freeze, Send
from derivfleet.simulator.core.faults import FaultKind, FaultRule, Faults
from derivfleet.simulator.core.limits import CallCounts, CallLimits
from derivfleet.simulator.core.logins import Logins
from derivfleet.simulator.core.market import Market
from derivfleet.simulator.core.streams import Streams
from derivfleet.simulator.core.turn import NS_PER_S, Turn
from derivfleet.simulator.core.windows import LinkedWindows

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.requests import Request
    from derivfleet.simulator.core.connection import Proposal
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.settings import SimulatorSettings

__all__ = ["Credentials", "Exchange"]

GOING_AWAY_CODE = 1001
BAD_DATA_CODE = 1007

_HANDLERS: dict[Call, Callable[[Turn, Any], list[Frame]]] = {
    Call.ACTIVE_SYMBOLS: market_calls.active_symbols,
    Call.AUTHORIZE: account_calls.authorize,
    Call.BALANCE: account_calls.balance,
    Call.BUY: trade_calls.buy,
    Call.CANCEL: trade_calls.cancel,
    Call.CONTRACT_UPDATE: trade_calls.contract_update,
    Call.CONTRACTS_FOR: market_calls.contracts_for,
    Call.FORGET: server_calls.forget,
    Call.FORGET_ALL: server_calls.forget_all,
    Call.LOGOUT: account_calls.logout,
    Call.PING: server_calls.ping,
    Call.PORTFOLIO: account_calls.portfolio,
    Call.PROFIT_TABLE: account_calls.profit_table,
    Call.PROPOSAL: trade_calls.proposal,
    Call.PROPOSAL_OPEN_CONTRACT: account_calls.proposal_open_contract,
    Call.SELL: trade_calls.sell,
    Call.STATEMENT: account_calls.statement,
    Call.TICKS: market_calls.ticks,
    Call.TICKS_HISTORY: market_calls.ticks_history,
    Call.TIME: server_calls.time,
    Call.TRANSACTION: account_calls.transaction,
    Call.WEBSITE_STATUS: server_calls.website_status,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What logs in: one token and the app that it belongs to."""

    token: str
    app_id: str

    def __repr__(self) -> str:
        return f"Credentials(app_id={self.app_id!r})"


class Exchange:
    """All state of the simulated service. Time comes in with every call; what sockets should do comes out."""

    def __init__(self, seed: str, credentials: Credentials, settings: SimulatorSettings, now_s: int) -> None:
        self.seed = seed
        self.settings = settings
        self.market = Market(seed)
        self.book = Book(self.market, settings.prices, settings.settlement_delay_s, now_s)
        self.logins = Logins(seed, credentials.token, credentials.app_id, settings.otp_valid_s)
        self.faults = Faults(seed)
        for fault in settings.faults:
            self.faults.add(fault.rule)
        self.counts = CallCounts()
        self.connections: dict[int, Connection] = {}
        self._limits = CallLimits(settings.window_kind, count_refused=settings.count_refused)
        self._tables = {name: settings.limits_of(name) for name in Dialect}
        self._rest: dict[str, LinkedWindows] = {}
        self._connected = 0
        self._second = now_s
        self.options_account, self.legacy_account = (
            self.book.open_account(
                loginid, settings.currency, settings.start_balance, is_demo=settings.account_type == "demo"
            )
            for loginid in (settings.options_account, settings.legacy_account)
        )

    # Sockets

    def has_room(self, loginid: str) -> bool:
        """Whether one more socket of this account is admitted."""
        held = sum(connection.account == loginid for connection in self.connections.values())
        return held < self.settings.connections_per_user

    def connect(self, name: Dialect, app_id: str, address: str, now_ns: int, account: str | None = None) -> Connection:
        """A socket was opened. With an account it is logged in from the start."""
        self._connected += 1
        table = self._tables[name]
        connection = Connection(
            number=self._connected,
            codec=dialect(name),
            limits=table,
            app_id=app_id,
            address=address,
            streams=Streams(f"{self.seed}/stream/{self._connected}", table.streams),
            last_traffic_ns=now_ns,
            account=account,
        )
        self.connections[connection.number] = connection
        return connection

    def disconnect(self, number: int) -> None:
        """A socket is gone, and with it its streams and proposals."""
        self.connections.pop(number, None)

    def admit_rest(self, user: str, address: str, now_ns: int) -> bool:
        """Count a REST call against its user and its address."""
        caps = self._tables[Dialect.OPTIONS].rest
        admitted = True
        for key, windows in ((f"user/{user}", caps.per_user), (f"address/{address}", caps.per_address)):
            if key not in self._rest:
                self._rest[key] = LinkedWindows(
                    self.settings.window_kind, windows, count_refused=self.settings.count_refused
                )
            admitted = self._rest[key].admit(now_ns) and admitted
        return admitted

    def clear_faults(self) -> None:
        """Remove all faults; slow sockets are quick again, silent ones stay silent."""
        self.faults.clear()
        for connection in self.connections.values():
            connection.slow_s = 0.0

    # Requests

    def receive(self, number: int, text: str | bytes, now_ns: int) -> list[Effect]:
        """Answer one frame of a socket; whatever was due before it comes first."""
        connection = self.connections.get(number)
        if connection is None or connection.frozen:
            return []
        connection.last_traffic_ns = now_ns
        return [*self.advance(now_ns // NS_PER_S), *self._as_sent(self._answer(connection, text, now_ns))]

    def _answer(self, connection: Connection, text: str | bytes, now_ns: int) -> list[Effect]:
        number = connection.number
        try:
            frame = from_json(text)
        except MalformedFrame:
            # Second-hand: malformed JSON closes the socket. With which code is assumed.
            return [Close(number, BAD_DATA_CODE, "malformed JSON")]
        turn = Turn(self, connection, frame, now_ns)
        msg_type, fault = "error", None
        try:
            call = connection.codec.call_of(frame)
            msg_type = str(call)
            self._admit(connection, call, now_ns)
            fault = self.faults.on_call(call)
            if fault and fault.kind is FaultKind.DROP_BEFORE:
                return [_drop(number, fault)]
            _fail(fault)
            request = connection.codec.decode_request(frame)
            _check_loginid(connection, request)
            answers = _HANDLERS[call](turn, request)
        except RequestRefused as refusal:
            error = ErrorAnswer(refusal.code, refusal.message, refusal.details)
            answers = [connection.codec.encode_error(msg_type, error)]
        return self._spoil(turn, [connection.codec.complete(answer, frame) for answer in answers], fault)

    def _admit(self, connection: Connection, call: Call, now_ns: int) -> None:
        """Count a call, before its fields are looked at: malformed calls cost quota too."""
        if call is Call.PING:
            admitted = connection.pings.has_room(now_ns)
            connection.pings.hit(now_ns)
        else:
            admitted = self._limits.admit(connection.limits, connection.limits_key, call, now_ns)
        self.counts.count(call, admitted=admitted)
        if not admitted:
            raise RequestRefused("RateLimit", f"You have reached the rate limit for {call}.")

    @staticmethod
    def _spoil(turn: Turn, answers: list[Frame], fault: FaultRule | None) -> list[Effect]:
        """Answers first, then what other streams hear; with what the fault does to the answers."""
        number = turn.connection.number
        texts, delay_s = [to_json(answer) for answer in answers], 0.0
        match fault.kind if fault else None:
            case FaultKind.DROP_AFTER if fault:
                others = [push for push in turn.pushes if push.connection != number]
                return [*others, _drop(number, fault)]
            case FaultKind.HALF_OPEN:
                turn.connection.frozen = True
                others = [push for push in turn.pushes if push.connection != number]
                return [*others, Freeze(number)]
            case FaultKind.DELAY if fault:
                delay_s = fault.delay_s
            case FaultKind.SLOW if fault:
                turn.connection.slow_s = fault.delay_s
            case FaultKind.ERROR_AFTER if fault:
                error = ErrorAnswer(fault.code, "An error by a fault.")
                frame = turn.codec.encode_error(turn.codec.call_of(turn.echo), error)
                texts = [to_json(turn.codec.complete(frame, turn.echo))]
            case FaultKind.GARBAGE:
                texts = ["}not JSON{"]
            case FaultKind.BARE:
                meta = ("msg_type", "echo_req", "req_id")
                texts = [
                    to_json({key: value for key, value in answer.items() if key not in meta}) for answer in answers
                ]
            case _:
                pass
        return [*(Send(number, text, delay_s) for text in texts), *turn.pushes]

    def _as_sent(self, effects: list[Effect]) -> list[Effect]:
        """The effects as the sockets' faults leave them: a silent one sends nothing, a slow one sends late."""
        sent: list[Effect] = []
        for effect in effects:
            connection = self.connections.get(effect.connection)
            if connection is None or not isinstance(effect, Send):
                sent.append(effect)
            elif not connection.frozen:
                sent.append(replace(effect, delay_s=effect.delay_s + connection.slow_s))
        return sent

    # Time

    def advance(self, now_s: int) -> list[Effect]:
        """Let time pass up to a second: ticks appear, contracts are settled, idle sockets end."""
        effects: list[Effect] = []
        for second in range(self._second + 1, now_s + 1):
            effects.extend(broadcasts.prices_at(self, second))
            settled = self.book.settle_due(second)
            for contract, moved in settled:
                effects.extend(broadcasts.movement(self, self.book.accounts[contract.account], moved))
            effects.extend(broadcasts.contracts_at(self, second, [contract for contract, _ in settled]))
        self._second = max(self._second, now_s)
        effects = self._as_sent(effects)
        for number in {effect.connection for effect in effects}:
            self.connections[number].last_traffic_ns = now_s * NS_PER_S
        effects.extend(self._idle(now_s))
        return effects

    def _idle(self, now_s: int) -> list[Effect]:
        limit_ns = now_s * NS_PER_S - round(self.settings.idle_close_s * NS_PER_S)
        return [
            Close(connection.number, GOING_AWAY_CODE, "idle")
            for connection in self.connections.values()
            if connection.last_traffic_ns <= limit_ns
        ]

    # What is told about contracts and prices

    def state(self, contract: Contract, now_s: int, stream_id: str | None = None) -> ContractState:
        """A contract as it stands."""
        found = state_of(contract, self.market, self.settings.prices, now_s)
        return replace(found, stream_id=stream_id) if stream_id else found

    def quote(self, proposal: Proposal, proposal_id: str, now_s: int, stream_id: str | None = None) -> Quote:
        """A price as it stands."""
        terms, prices = proposal.terms, self.settings.prices
        tick = self.market.tick(terms.symbol, now_s)
        return Quote(
            id=proposal_id,
            ask_price=proposal.price.ask,
            payout=proposal.price.payout,
            spot=tick.quote,
            spot_s=tick.epoch_s,
            start_s=now_s,
            expiry_s=course_of(terms, now_s).expiry_s,
            longcode=longcode_of(terms),
            minimum_stake=prices.minimum_stake,
            maximum_payout=prices.maximum_payout,
            stream_id=stream_id,
        )


def _check_loginid(connection: Connection, request: Request) -> None:
    """Legacy requests may name an account, and here only the one that is logged in can be named."""
    loginid: object = getattr(request, "loginid", None)
    if loginid is not None and loginid != connection.account:
        raise RequestRefused("PermissionDenied", "The loginid is not one of this connection.")


def _fail(fault: FaultRule | None) -> None:
    if fault and fault.kind is FaultKind.ERROR_BEFORE:
        raise RequestRefused(fault.code, "An error by a fault.")


def _drop(number: int, fault: FaultRule) -> Close:
    return Close(number, GOING_AWAY_CODE, "dropped by a fault", abrupt=fault.abrupt)
