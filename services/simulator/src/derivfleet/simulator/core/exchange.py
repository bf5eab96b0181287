"""The simulated service: sockets come and go, requests are answered, time passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from derivfleet.deriv.answers import ErrorAnswer
from derivfleet.deriv.dialects import from_json, to_json
from derivfleet.deriv.errors import MalformedFrame, RequestRefused
from derivfleet.deriv.vocabulary import Call
from derivfleet.simulator.core import account_calls, broadcasts, market_calls, server_calls, trade_calls
from derivfleet.simulator.core.answer_faults import drop, faulted
from derivfleet.simulator.core.effects import Close, Effect, Send
from derivfleet.simulator.core.exchange_state import Credentials, ExchangeState
from derivfleet.simulator.core.faults import FaultKind, FaultRule
from derivfleet.simulator.core.request_context import NS_PER_S, RequestContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.requests import Request
    from derivfleet.simulator.core.connection import Connection

__all__ = ["Credentials", "Exchange"]

GOING_AWAY_CODE = 1001
BAD_DATA_CODE = 1007
_LONGEST_STRING = 300
"""Second-hand, as the code of the refusal (2)."""

_HANDLERS: dict[Call, Callable[[RequestContext, Any], list[Frame]]] = {
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


class Exchange(ExchangeState):
    """The simulated service in motion. Time comes in with every call; what sockets should do comes out."""

    # Requests

    def receive(self, number: int, text: str | bytes, now_ns: int) -> list[Effect]:
        """Answer one frame of a socket; whatever was due before it comes first."""
        connection = self.connections.get(number)
        if connection is None or connection.frozen:
            return []
        own_ns = connection.last_traffic_ns = self.own_ns(now_ns)
        return [*self._pass_time(own_ns), *self._as_sent(self._answer(connection, text, own_ns))]

    def _answer(self, connection: Connection, text: str | bytes, now_ns: int) -> list[Effect]:
        number = connection.number
        try:
            frame = from_json(text)
        except MalformedFrame:
            # Second-hand: malformed JSON closes the socket. With which code is assumed.
            return [Close(number, BAD_DATA_CODE, "malformed JSON")]
        context = RequestContext(self, connection, frame, now_ns)
        msg_type, fault = "error", None
        try:
            _check_sanity(frame)
            call = connection.codec.call_of(frame)
            msg_type = str(call)
            self._admit(connection, call, now_ns)
            fault = self.faults.on_call(call)
            if fault and fault.kind is FaultKind.DROP_BEFORE:
                return [drop(number, fault)]
            _fail(connection, fault)
            context = replace(context, fault=fault)
            request = connection.codec.decode_request(frame)
            _check_loginid(connection, request)
            answers = _HANDLERS[call](context, request)
        except RequestRefused as refusal:
            error = ErrorAnswer(refusal.code, refusal.message, refusal.details)
            answers = [connection.codec.encode_error(msg_type, error)]
        texts = [self._capped(context, msg_type, answer) for answer in answers]
        return faulted(context, texts, fault)

    def _capped(self, context: RequestContext, msg_type: str, answer: Frame) -> str:
        text = to_json(context.codec.complete(answer, context.echo))
        if len(text) <= self.settings.frame_cap_bytes:
            return text
        error = context.codec.encode_error(msg_type, ErrorAnswer("ResponseTooLarge", "Response too large."))
        return to_json(context.codec.complete(error, context.echo))

    def _admit(self, connection: Connection, call: Call, now_ns: int) -> None:
        """Count a call, before its fields are looked at: malformed calls cost quota too."""
        if call is Call.PING:
            admitted = connection.pings.has_room(now_ns)
            connection.pings.hit(now_ns)
        else:
            admitted = self.limits.admit(connection.limits, connection.limits_key, call, now_ns)
        self.counts.count(call, admitted=admitted)
        if not admitted:
            raise RequestRefused("RateLimit", f"You have reached the rate limit for {call}.")

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
        return self._pass_time(self.own_ns(now_s * NS_PER_S))

    def _pass_time(self, own_ns: int) -> list[Effect]:
        self.faults.now_ns = own_ns
        now_s = own_ns // NS_PER_S
        effects: list[Effect] = self._late_answers() if now_s > self.second else []
        for second in range(self.second + 1, now_s + 1):
            effects.extend(broadcasts.prices_at(self, second))
            settled = self.ledger.settle_due(second)
            for contract, moved in settled:
                effects.extend(broadcasts.movement(self, self.ledger.accounts[contract.account], moved))
            effects.extend(broadcasts.contracts_at(self, second, [contract for contract, _ in settled]))
        self.second = max(self.second, now_s)
        effects = self._as_sent(effects)
        for number in {effect.connection for effect in effects}:
            self.connections[number].last_traffic_ns = now_s * NS_PER_S
        effects.extend(self._idle(now_s))
        return effects

    def _late_answers(self) -> list[Effect]:
        """Those that waited for another to go first."""
        late = [answer for connection in self.connections.values() for answer in connection.held]
        for connection in self.connections.values():
            connection.held.clear()
        return [*late]

    def _idle(self, now_s: int) -> list[Effect]:
        limit_ns = now_s * NS_PER_S - round(self.settings.idle_close_s * NS_PER_S)
        return [
            Close(connection.number, GOING_AWAY_CODE, "idle")
            for connection in self.connections.values()
            if connection.last_traffic_ns <= limit_ns
        ]


def _check_loginid(connection: Connection, request: Request) -> None:
    """Legacy requests may name an account, and here only the one that is logged in can be named."""
    loginid: object = getattr(request, "loginid", None)
    if loginid is not None and loginid != connection.account:
        raise RequestRefused("PermissionDenied", "The loginid is not one of this connection.")


def _check_sanity(value: object) -> None:
    """Strings that are long or hold odd characters are refused, before anything else is looked at."""
    match value:
        case str() if len(value) > _LONGEST_STRING or not value.isprintable():
            raise RequestRefused("SanityCheckFailed", "Parameters sanity check failed.")
        case dict():
            for key, inner in cast("dict[str, object]", value).items():
                _check_sanity(key)
                _check_sanity(inner)
        case list():
            for inner in cast("list[object]", value):
                _check_sanity(inner)
        case _:
            pass


def _fail(connection: Connection, fault: FaultRule | None) -> None:
    if fault and fault.kind is FaultKind.ERROR_BEFORE:
        raise RequestRefused(fault.code, "An error by a fault.")
    if fault and fault.kind is FaultKind.REVOKE:
        connection.revoked = True
        connection.streams.forget_all(account_calls.ACCOUNT_STREAMS)
