"""The current dialect's ways in, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.ticks import quotes

if TYPE_CHECKING:
    from conftest import Service, Start

ACCOUNT = "/accounts/DOT90000001"


async def test_accounts_are_listed_as_documented(service: Service) -> None:
    status, body = await service.rest("GET", "/accounts")
    assert status == 200
    assert body["data"] == [
        {
            "account_id": "DOT90000001",
            "account_type": "demo",
            "status": "active",
            "currency": "USD",
            "balance": 10_000,
            "group": "row",
        }
    ]
    assert body["meta"]["method"] == "GET"


@pytest.mark.parametrize(
    ("method", "path", "token", "app_id", "status", "code"),
    [
        ("GET", "/accounts", "wrong", "12345", 401, "Unauthorized"),
        ("GET", "/accounts", "", "12345", 401, "Unauthorized"),
        ("GET", "/accounts", "a1-TOKEN", "", 401, "Unauthorized"),
        ("GET", "/accounts", "a1-TOKEN", "999", 401, "Unauthorized"),
        ("POST", "/accounts/DOT1/otp", "a1-TOKEN", "12345", 403, "AccessDenied"),
        ("POST", "/accounts/dot/otp", "a1-TOKEN", "12345", 400, "ValidationError"),
        ("POST", f"{ACCOUNT}/otp", "wrong", "12345", 401, "Unauthorized"),
        ("GET", "/nothing", "a1-TOKEN", "12345", 404, "NotFound"),
        ("GET", f"{ACCOUNT}/otp", "a1-TOKEN", "12345", 404, "NotFound"),
    ],
)
async def test_refusals_come_in_the_documented_envelope(
    service: Service, method: str, path: str, token: str, app_id: str, status: int, code: str
) -> None:
    got, body = await service.rest(method, path, token, app_id)
    (error,) = body["errors"]
    assert (got, error["status"], error["code"]) == (status, status, code)
    assert error["message"]
    assert body["meta"]["endpoint"].endswith(path)


async def test_a_missing_app_id_is_said_in_derivs_words(service: Service) -> None:
    _, body = await service.rest("GET", "/accounts", app_id="")
    assert body["errors"][0]["message"] == "Deriv-App-ID header is required for PAT tokens"


async def test_a_one_time_url_opens_one_socket(service: Service) -> None:
    url = await service.otp_url()
    assert url.startswith(f"ws://127.0.0.1:{service.port}/trading/v1/options/ws/demo?otp=")
    socket = await service.socket(url)
    balance = await socket.ask(balance=1)
    assert balance["balance"] == {"balance": 10_000, "currency": "USD", "loginid": "DOT90000001"}
    assert await service.refused_upgrade(url) == 401
    assert await service.refused_upgrade(f"{url}x") == 401
    assert await service.refused_upgrade(url.partition("?")[0]) == 401


async def test_a_one_time_url_expires_after_two_minutes(service: Service) -> None:
    early, late = await service.otp_url(), await service.otp_url()
    await service.clock.advance(119.9)
    await service.socket(early)
    await service.clock.advance(0.1)
    assert await service.refused_upgrade(late) == 401


async def test_the_path_must_name_the_kind_of_account(service: Service, start: Start) -> None:
    assert await service.refused_upgrade((await service.otp_url()).replace("/demo?", "/real?")) == 401
    async with start(account_type="real") as real:
        url = await real.otp_url()
        assert "/ws/real?" in url
        await real.socket(url)
        status, body = await real.rest("POST", f"{ACCOUNT}/reset-demo-balance")
        assert (status, body["errors"][0]["code"]) == (400, "BadInputRequest")


async def test_a_plain_request_for_a_socket_does_not_burn_the_password(service: Service) -> None:
    url = await service.otp_url()
    status, body = await service.call("GET", url)
    assert (status, body["errors"][0]["code"]) == (400, "BadInputRequest")
    await service.socket(url)


async def test_a_fifth_socket_is_refused_until_one_ends(service: Service) -> None:
    sockets = [await service.options() for _ in range(4)]
    assert await service.refused_upgrade(await service.otp_url()) == 429
    await sockets[0].socket.close()
    for _ in range(100):
        if len(service.exchange.connections) < 4:
            break
        await service.call("GET", "/health")
    await service.options()


async def test_the_public_socket_has_markets_only(service: Service) -> None:
    socket = await service.socket("/trading/v1/options/ws/public")
    tick = await socket.ask(ticks="R_100")
    now_s = int(service.clock.now_s())
    assert [(tick["tick"]["epoch"], tick["tick"]["quote"])] == quotes("1", "R_100", now_s, now_s)
    refused = await socket.ask(balance=1)
    assert refused["error"] == {"code": "AuthorizationRequired", "message": "Please log in."}


async def test_rest_calls_are_limited(service: Service) -> None:
    statuses = [(await service.rest("GET", "/accounts"))[0] for _ in range(81)]
    assert statuses == [200] * 80 + [429]
    await service.clock.advance(60)
    assert (await service.rest("GET", "/accounts"))[0] == 200


async def test_a_demo_balance_is_reset_and_the_streams_hear_it(service: Service) -> None:
    socket = await service.options()
    await socket.ask(transaction=1, subscribe=1)
    parameters = {
        "contract_type": "DIGITODD",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 1,
        "duration_unit": "t",
        "underlying_symbol": "R_100",
    }
    await socket.ask(buy="1", price=1, parameters=parameters)
    assert (await socket.frame())["transaction"]["action"] == "buy"
    status, body = await service.rest("POST", f"{ACCOUNT}/reset-demo-balance")
    assert (status, body["data"]["balance"]) == (200, 10_000)
    moved = (await socket.frame())["transaction"]
    assert (moved["action"], moved["amount"], moved["balance"]) == ("deposit", 1, 10_000)
    assert (await service.rest("POST", f"{ACCOUNT}/reset-demo-balance"))[0] == 200
    rows = (await socket.ask(statement=1))["statement"]["transactions"]
    assert [row["action_type"] for row in rows] == ["deposit", "buy"]


async def test_other_endpoints(service: Service) -> None:
    assert await service.call("GET", "/v1/health") == (200, "OK")
    assert await service.rest("GET", "/legacy/migration-status") == (200, {"status": "complete"})


async def test_a_refused_login_is_a_401(service: Service) -> None:
    await service.fault(kind="refuse_login", count=1)
    assert (await service.rest("POST", f"{ACCOUNT}/otp"))[0] == 401
    await service.options()


async def test_a_refused_handshake_is_a_401_and_spends_the_password(service: Service) -> None:
    await service.fault(kind="refuse_handshake", count=1)
    url = await service.otp_url()
    assert [await service.refused_upgrade(url) for _ in range(2)] == [401, 401]
    await service.options()
