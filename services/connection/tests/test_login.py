"""Logins where REST answers what it should not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from derivfleet.common.clock import ManualClock
from derivfleet.common.redaction import redact
from derivfleet.connection.login import CredentialError, LoginError, OptionsLogin
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

DEMO = {"account_id": "DOT1", "account_type": "demo", "currency": "USD", "balance": None}


@asynccontextmanager
async def login_to(
    accounts: object, otp: object, otp_status: int = 200, login_id: str = ""
) -> AsyncGenerator[OptionsLogin, None]:
    async def list_accounts(_request: web.Request) -> web.Response:
        return web.json_response(accounts)

    async def one_time(_request: web.Request) -> web.Response:
        return web.json_response(otp, status=otp_status)

    app = web.Application()
    app.router.add_get("/trading/v1/options/accounts", list_accounts)
    app.router.add_post("/trading/v1/options/accounts/DOT1/otp", one_time)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url, codec = f"http://127.0.0.1:{runner.addresses[0][1]}", dialect(Dialect.OPTIONS)
    login = OptionsLogin(url, "app", "token-0", login_id, ManualClock(), codec)
    try:
        yield login
    finally:
        await login.close()
        await runner.cleanup()


@pytest.mark.parametrize("accounts", [{"data": None}, {"data": 5}, {"data": {"a": 1}}, {}, [], 7, {"errors": "x"}])
async def test_a_list_of_accounts_without_form_is_asked_for_again(accounts: object) -> None:
    async with login_to(accounts, {}) as login:
        with pytest.raises(LoginError):
            await login.connect("demo/orders")


@pytest.mark.parametrize("otp", [{"data": None}, {"data": []}, {"data": {}}, {"data": {"url": ""}}, "x"])
async def test_an_answer_without_an_address_is_asked_for_again(otp: object) -> None:
    async with login_to({"data": [DEMO, {"account_type": "demo"}, 5]}, otp) as login:
        with pytest.raises(LoginError):
            await login.connect("demo/orders")


async def test_a_user_whose_rest_calls_are_used_up_is_not_asked_again_for_a_minute() -> None:
    async with login_to({"data": [DEMO]}, {"errors": [{"code": "RateLimit", "message": "slower"}]}, 429) as login:
        with pytest.raises(LoginError, match="429 RateLimit: slower"):
            await login.connect("demo/orders")
        with pytest.raises(LoginError, match="used up: the next in 60 s"):
            await login.connect("demo/reads")


async def test_half_of_derivs_rest_calls_a_minute_is_all_that_is_used() -> None:
    async with login_to({"data": [DEMO]}, {"data": {}}) as login:
        for _ in range(39):
            with pytest.raises(LoginError, match="holds no address"):
                await login.connect("demo/orders")
        with pytest.raises(LoginError, match="used up"):
            await login.connect("demo/orders")


async def test_an_address_that_is_none_is_never_shown() -> None:
    url = "ws://127.0.0.1:1/ws/demo?key=word-4711"
    async with login_to({"data": [DEMO]}, {"data": {"url": url}}) as login:
        with pytest.raises(LoginError) as caught:
            await login.connect("demo/orders")
    assert "word-4711" not in redact(f"{caught.value} {url}")


async def test_an_address_for_real_money_is_refused() -> None:
    async with login_to({"data": [DEMO]}, {"data": {"url": "ws://127.0.0.1:1/ws/real?otp=1"}}) as login:
        with pytest.raises(CredentialError, match="no demo address"):
            await login.connect("demo/orders")
