from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.common.clock import ManualClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.identity import Identity, Role
from derivfleet.common.rpc.identity_source import identities_of
from derivfleet.common.rpc.own_token import read_token
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.common.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path


async def problem(settings: ServerSettings) -> str:
    with pytest.raises(ConfigurationError) as caught:
        async with identities_of(settings, ManualClock()):
            pytest.fail("callers are known")
    return str(caught.value)


async def test_a_local_fleet_knows_its_callers_from_a_file(tmp_path: Path) -> None:
    path = issue_tokens({"one": Role.BOT}, tmp_path)
    async with identities_of(ServerSettings(tokens=path), ManualClock()) as identities:
        token = read_token(tmp_path / "one.token", "token")
        assert await identities.identify(token) == Identity(name="one", role=Role.BOT)


async def test_what_is_missing_is_named() -> None:
    assert (await problem(ServerSettings())).startswith("TOKENS: is required")
    assert (await problem(ServerSettings(identities="kubernetes"))).startswith("SERVICE_ACCOUNTS: is required")
    text = await problem(ServerSettings(identities="kubernetes", service_accounts="fleet"))
    assert text.startswith("IDENTITIES: is kubernetes, but this is no pod")
