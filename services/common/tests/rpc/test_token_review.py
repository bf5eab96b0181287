"""Token reviews through the real client, against a peer that answers as an API server does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from derivfleet.common.clock import ManualClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Identity, Role
from derivfleet.common.rpc.token_review import AUDIENCE, Accounts, TokenReview, accounts_of, reviewing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

ACCOUNTS = Accounts("trading", "fleet")
USERS = {
    "good": "system:serviceaccount:trading:fleet-bot-over-4",
    "stranger": "system:serviceaccount:trading:default",
    "elsewhere": "system:serviceaccount:other:fleet-bot-over-4",
}


class ApiServer:
    """Reviews tokens; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.broken = False
        self.audiences = [AUDIENCE]

    async def review(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if self.broken:
            return web.json_response({"kind": "Status", "message": f"no: {body['spec']['token']}"}, status=500)
        user = USERS.get(body["spec"]["token"])
        status: dict[str, Any] = {"authenticated": user is not None}
        if user is not None:
            status |= {"user": {"username": user}, "audiences": self.audiences}
        return web.json_response({**body, "status": status}, status=201)


@asynccontextmanager
async def cluster(clock: ManualClock) -> AsyncGenerator[tuple[ApiServer, TokenReview], None]:
    peer = ApiServer()
    app = web.Application()
    app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", peer.review)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with client.ApiClient(configuration) as api:
            yield peer, TokenReview(client.AuthenticationV1Api(api), ACCOUNTS, clock)
    finally:
        await runner.cleanup()


async def test_the_bot_is_the_service_account_of_the_token() -> None:
    async with cluster(ManualClock()) as (peer, tokens):
        assert await tokens.identify("good") == Identity(name="over-4", role=Role.BOT)
        assert peer.asked[0]["spec"] == {"token": "good", "audiences": [AUDIENCE]}


@pytest.mark.parametrize("token", ["expired", "stranger", "elsewhere"])
async def test_nobody_else_is_let_in(token: str) -> None:
    async with cluster(ManualClock()) as (_, tokens):
        assert await tokens.identify(token) is None


async def test_a_token_for_another_audience_is_refused() -> None:
    async with cluster(ManualClock()) as (peer, tokens):
        peer.audiences = ["https://kubernetes.default.svc"]
        assert await tokens.identify("good") is None


async def test_an_answer_is_kept_for_a_minute() -> None:
    clock = ManualClock()
    async with cluster(clock) as (peer, tokens):
        for token in ("good", "expired", "good", "expired"):
            await tokens.identify(token)
        assert len(peer.asked) == 2
        await clock.advance(61)
        await tokens.identify("good")
        assert len(peer.asked) == 3


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="asked again: 1000 tokens of nobody push out the good one"
)
async def test_tokens_of_nobody_do_not_push_a_known_one_out() -> None:
    async with cluster(ManualClock()) as (peer, tokens):
        await tokens.identify("good")
        for first in range(0, 1_000, 50):
            await asyncio.gather(*(tokens.identify(f"junk{first + number}") for number in range(50)))
            await tokens.identify("good")  # in use all the time
        assert sum(review["spec"]["token"] == "good" for review in peer.asked) == 1


@pytest.mark.xfail(
    strict=True, raises=IdentitiesUnavailableError, reason="61 s after its last review a known token is refused"
)
async def test_a_known_token_is_good_while_the_cluster_does_not_answer_for_minutes() -> None:
    clock = ManualClock()
    async with cluster(clock) as (peer, tokens):
        await tokens.identify("good")
        peer.broken = True
        await clock.advance(61)
        assert await tokens.identify("good") == Identity(name="over-4", role=Role.BOT)


async def test_a_cluster_that_does_not_answer_lets_nobody_in_and_is_asked_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with cluster(ManualClock()) as (peer, tokens):
        peer.broken = True
        with pytest.raises(IdentitiesUnavailableError):
            await tokens.identify("good")
        peer.broken = False
        assert await tokens.identify("good") is not None
    out = capsys.readouterr()
    assert "does not review tokens" in out.out + out.err
    assert "good" not in out.out + out.err


def test_service_accounts_have_their_roles() -> None:
    prefix = "system:serviceaccount:trading:fleet-"
    assert ACCOUNTS.identity_of(f"{prefix}metrics") == Identity(name="metrics", role=Role.OBSERVER)
    assert ACCOUNTS.identity_of(f"{prefix}operator") == Identity(name="operator", role=Role.OPERATOR)
    assert ACCOUNTS.identity_of(f"{prefix}gateway") is None
    assert ACCOUNTS.identity_of("admin") is None


async def test_outside_a_cluster_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="IDENTITIES: is kubernetes, but this is no pod"):
        accounts_of("fleet", "IDENTITIES", tmp_path / "namespace")
    (tmp_path / "namespace").write_text("trading\n")
    accounts = accounts_of("fleet", "IDENTITIES", tmp_path / "namespace")
    assert accounts == ACCOUNTS
    with pytest.raises(ConfigurationError, match="IDENTITIES: is kubernetes, but this is no pod"):
        async with reviewing(accounts, ManualClock(), "IDENTITIES"):
            pytest.fail("there is no cluster")
