from __future__ import annotations

import pytest
from aiohttp import web

from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Identity, Role
from derivfleet.metrics.web.auth import Auth


class Cluster:
    """An API server that knows one operator and one bot, and is away now and then."""

    def __init__(self) -> None:
        self.is_away = False

    async def identify(self, token: str) -> Identity | None:
        if self.is_away:
            raise IdentitiesUnavailableError
        known = {"o": Identity(name="operator", role=Role.OPERATOR), "b": Identity(name="over-4", role=Role.BOT)}
        return known.get(token)


async def test_who_cannot_be_checked_is_neither_let_in_nor_turned_away() -> None:
    cluster = Cluster()
    gate = Auth(cluster)
    assert (await gate.reader("o")).name == "operator"
    cluster.is_away = True
    with pytest.raises(web.HTTPServiceUnavailable):
        await gate.reader("o")


@pytest.mark.parametrize(
    ("token", "refusal"), [("", web.HTTPUnauthorized), ("x", web.HTTPUnauthorized), ("b", web.HTTPForbidden)]
)
async def test_bots_and_strangers_do_not_read(token: str, refusal: type[web.HTTPException]) -> None:
    with pytest.raises(refusal):
        await Auth(Cluster()).reader(token)


def test_fleets_side_by_side_have_cookies_of_their_own() -> None:
    one, other = Auth(Cluster()), Auth(Cluster())
    one.listens_on(7680)
    other.listens_on(8680)
    assert one.cookie != other.cookie
