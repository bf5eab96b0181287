"""The legacy dialect over real sockets, driven by Deriv's own library too."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect

with warnings.catch_warnings():
    # The library imports websockets.legacy, which says on import that it will go.
    warnings.simplefilter("ignore", DeprecationWarning)
    from deriv_api import DerivAPI
    from deriv_api.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from conftest import Service

BUY: dict[str, Any] = {
    "buy": "1",
    "price": 0.5,
    "parameters": {
        "contract_type": "DIGITEVEN",
        "currency": "USD",
        "amount": 0.5,
        "basis": "stake",
        "duration": 2,
        "duration_unit": "t",
        "symbol": "1HZ100V",
    },
}


async def test_an_unknown_app_is_refused_at_the_door(service: Service) -> None:
    for query in ("", "?app_id=", "?app_id=x", "?app_id=999"):
        assert await service.refused_upgrade(f"/websockets/v3{query}") == 401
    assert (await service.call("GET", "/websockets/v3?app_id=12345"))[0] == 400


async def test_a_login_is_a_message(service: Service) -> None:
    socket = await service.legacy(login=False)
    assert (await socket.ask(balance=1))["error"]["code"] == "AuthorizationRequired"
    assert (await socket.ask(authorize="wrong"))["error"]["code"] == "InvalidToken"
    login = await socket.ask(authorize="a1-TOKEN")
    assert login["authorize"]["loginid"] == "VRTC90000001"
    assert login["echo_req"]["authorize"] == "<not shown>"
    assert (await socket.ask(balance=1))["balance"]["balance"] == 10_000


async def test_a_fifth_login_is_shown_the_door(service: Service) -> None:
    logged_in = [await service.legacy() for _ in range(4)]
    fifth = await service.legacy(login=False)
    await fifth.send(authorize="a1-TOKEN")
    assert await fifth.end() == 1008
    for socket in logged_in:
        await socket.ask(balance=1)


@pytest.fixture
async def api(service: Service) -> AsyncGenerator[Any, None]:
    client: Any = DerivAPI(endpoint=f"ws://127.0.0.1:{service.port}", app_id="12345")
    yield client
    await client.disconnect()


async def test_derivs_library_logs_in_buys_and_sees_the_end(service: Service, api: Any) -> None:
    login = await api.authorize("a1-TOKEN")
    assert login["authorize"]["loginid"] == "VRTC90000001"
    receipt = (await api.send(dict(BUY)))["buy"]
    assert (receipt["buy_price"], receipt["payout"], receipt["balance_after"]) == (0.5, 0.98, 9999.5)
    await service.clock.advance(3)
    about = {"proposal_open_contract": 1, "contract_id": receipt["contract_id"]}
    state = (await api.send(about))["proposal_open_contract"]
    assert state["is_sold"] == 1
    assert state["status"] in ("won", "lost")
    with pytest.raises(ResponseError, match="R_7 is invalid"):
        await api.send({"ticks": "R_7"})


async def test_derivs_library_streams_ticks_and_forgets_them(service: Service, api: Any) -> None:
    seen: asyncio.Queue[Any] = asyncio.Queue()
    source = await api.subscribe({"ticks": "1HZ100V"})
    subscription = source.subscribe(seen.put_nowait)
    first = await asyncio.wait_for(seen.get(), 60)
    start_s = int(service.clock.now_s())
    await service.clock.advance(3)
    ticks = [first, *[await asyncio.wait_for(seen.get(), 60) for _ in range(3)]]
    expected = [(epoch, float(quote)) for epoch, quote in quotes("1", "1HZ100V", start_s, start_s + 3)]
    assert [(tick["tick"]["epoch"], tick["tick"]["quote"]) for tick in ticks] == expected
    subscription.dispose()
    for _ in range(100):
        if not any(connection.streams for connection in service.exchange.connections.values()):
            break
        await api.send({"ping": 1})
    assert [len(connection.streams) for connection in service.exchange.connections.values()] == [0]


async def test_both_dialects_have_accounts_of_their_own(service: Service) -> None:
    legacy, options = await service.legacy(), await service.open(Dialect.OPTIONS)
    await legacy.ask(**BUY)
    assert (await legacy.ask(balance=1))["balance"]["balance"] < 10_000
    assert (await options.ask(balance=1))["balance"]["balance"] == 10_000


async def test_a_refused_handshake_is_a_401(service: Service) -> None:
    await service.fault(kind="refuse_handshake", count=1)
    assert await service.refused_upgrade("/websockets/v3?app_id=12345") == 401
    await service.legacy()
