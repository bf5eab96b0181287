"""What open streams are told: ticks, movements of cash, states of contracts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from derivfleet.deriv.answers import Balance, OhlcUpdate, TickUpdate
from derivfleet.deriv.dialects import to_json
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Call, StreamType
from derivfleet.simulator.core.effects import Send
from derivfleet.simulator.core.faults import FaultKind
from derivfleet.simulator.core.histories import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.account_ledger import Account, Movement
    from derivfleet.simulator.core.connection import Connection
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.exchange_state import ExchangeState
    from derivfleet.simulator.core.streams import Stream

__all__ = ["bought", "contract_frame", "contracts_at", "ended", "movement", "prices_at", "tick_update"]


def _send(connection: Connection, stream: Stream, frame: Frame) -> Send:
    return Send(connection.number, to_json(connection.codec.complete(frame, stream.echo)))


def tick_update(exchange: ExchangeState, symbol: str, second: int, stream_id: str | None) -> TickUpdate:
    """The tick in force at a second."""
    tick = exchange.market.tick(symbol, second)
    half_spread = SYMBOLS[symbol].half_spread
    return TickUpdate(tick, tick.quote - half_spread, tick.quote + half_spread, stream_id)


def prices_at(exchange: ExchangeState, second: int) -> Iterator[Send]:
    """Ticks, running candles and moving proposals of one second, to whoever listens."""
    wrong: dict[str, FaultKind | None] = {}
    for connection in exchange.connections.values():
        for stream in connection.streams:
            frame = _price_frame(exchange, connection, stream, second, wrong)
            if frame:
                yield _send(connection, stream, frame)


def _price_frame(
    exchange: ExchangeState, connection: Connection, stream: Stream, second: int, wrong: dict[str, FaultKind | None]
) -> Frame | None:
    """``wrong`` keeps what happens to each symbol's tick of this second, so that all hear the same."""
    match stream.key:
        case ("ticks", str(symbol)) | ("history", str(symbol), 0) if _ticks(symbol, second):
            if symbol not in wrong:
                wrong[symbol] = exchange.faults.on_tick()
            if wrong[symbol] is FaultKind.TICK_GAP:
                return None
            update = tick_update(exchange, symbol, second, stream.id)
            if wrong[symbol] is FaultKind.REPEAT_QUOTE:
                update = _repeated(exchange, update)
            return connection.codec.encode_tick(update)
        case ("history", str(symbol), int(granularity_s)) if granularity_s and _ticks(symbol, second):
            start_s = second - second % granularity_s
            candle = exchange.market.candle(symbol, granularity_s, start_s, second)
            decimals = SYMBOLS[symbol].decimals
            return connection.codec.encode_ohlc(OhlcUpdate(symbol, candle, granularity_s, second, decimals, stream.id))
        case ("proposal", _):
            proposal = connection.proposals.get(stream.id)
            if proposal and _ticks(proposal.terms.symbol, second):
                return connection.codec.encode_proposal(exchange.quote(proposal, stream.id, second, stream.id))
        case _:
            pass
    return None


def _repeated(exchange: ExchangeState, update: TickUpdate) -> TickUpdate:
    """The tick with the prices of the one before."""
    tick = update.tick
    before = tick_update(exchange, tick.symbol, tick.epoch_s - SYMBOLS[tick.symbol].tick_spacing_s, update.stream_id)
    return replace(before, tick=replace(before.tick, epoch_s=tick.epoch_s))


def _ticks(symbol: str, second: int) -> bool:
    return second % SYMBOLS[symbol].tick_spacing_s == 0


def movement(exchange: ExchangeState, account: Account, moved: Movement) -> Iterator[Send]:
    """One movement to all sockets of its account that stream transactions or the balance."""
    for connection in exchange.connections.values():
        if connection.account != account.loginid:
            continue
        codec = connection.codec
        if stream := connection.streams.get(("transaction",)):
            yield _send(connection, stream, codec.encode_transaction(transaction(account, moved), stream.id))
        if stream := connection.streams.get(("balance",)):
            balance = Balance(moved.balance_after, account.currency, account.loginid, stream.id)
            yield _send(connection, stream, codec.encode_balance(balance))


def contract_frame(
    exchange: ExchangeState, connection: Connection, stream: Stream, contract: Contract, now_s: int
) -> Frame:
    """The contract's state for one stream, which ends with the state that says it is sold."""
    if contract.sale:
        connection.streams.close(stream)
    return connection.codec.encode_contract(exchange.state(contract, now_s, stream.id))


def bought(exchange: ExchangeState, contract: Contract, now_s: int) -> Iterator[Send]:
    """The first state of a new contract: to the stream that its purchase opened, and to streams of all contracts."""
    for connection in exchange.connections.values():
        if connection.account == contract.account:
            _join(connection, contract)
            yield from _tell(exchange, connection, contract, now_s)


def ended(exchange: ExchangeState, contract: Contract, now_s: int) -> Iterator[Send]:
    """The last state of a contract, to whoever watches it."""
    for connection in exchange.connections.values():
        if connection.account == contract.account:
            yield from _tell(exchange, connection, contract, now_s)


def contracts_at(exchange: ExchangeState, second: int, settled: Collection[Contract]) -> Iterator[Send]:
    """States of contracts to whoever watches them: those just settled, and those whose symbol just ticked."""
    for contract in settled:
        yield from ended(exchange, contract, second)
    for connection in exchange.connections.values():
        for stream in connection.streams:
            match stream.key:
                case ("contract", int(contract_id)) if connection.account:
                    contract = exchange.ledger.accounts[connection.account].contracts[contract_id]
                    if _ticks(contract.terms.symbol, second):
                        yield from _tell(exchange, connection, contract, second)
                case _:
                    pass


def _tell(exchange: ExchangeState, connection: Connection, contract: Contract, now_s: int) -> Iterator[Send]:
    stream = connection.streams.get(("contract", contract.contract_id))
    if stream:
        yield _send(connection, stream, contract_frame(exchange, connection, stream, contract, now_s))


def _join(connection: Connection, contract: Contract) -> None:
    """A contract bought after a stream of all contracts was opened joins it."""
    parent = connection.streams.get(("contracts",))
    key = ("contract", contract.contract_id)
    if parent is None or connection.streams.get(key):
        return
    try:
        connection.streams.open(Call.PROPOSAL_OPEN_CONTRACT, key, StreamType.PROPOSAL_OPEN_CONTRACT, parent.echo)
    except RequestRefused:
        # The socket is full. The parent goes on without this one, as it does after any error of a child.
        return
