from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.metrics.outside import channels_of, replicator_of

if TYPE_CHECKING:
    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.metrics.store import Store


@pytest.fixture
def fleet(settings: MetricsSettings) -> Fleet:
    return load_fleet(settings.fleet)


def with_chat(fleet: Fleet) -> Fleet:
    plain = fleet.model_dump()
    bots = [{**bot, "strategy": bot["parameters"].pop("strategy")} for bot in plain["bots"]]
    return Fleet.model_validate({**plain, "bots": bots, "alerts": {"telegram": {"chat_id": -100}}})


async def test_half_of_what_supabase_needs_is_refused(
    settings: MetricsSettings, fleet: Fleet, store: Store, clock: ManualClock
) -> None:
    async with AsyncExitStack() as ending:
        for missing, half in (
            ("SUPABASE_SERVICE_KEY", {"supabase_url": "https://abc.supabase.co"}),
            ("SUPABASE_URL", {"supabase_service_key": SecretStr("canary")}),
        ):
            with pytest.raises(ConfigurationError) as error:
                await replicator_of(settings.model_copy(update=half), fleet, store, clock, ending)
            assert error.value.key == missing
        assert await replicator_of(settings, fleet, store, clock, ending) is None


async def test_a_channel_is_there_if_its_secret_is(settings: MetricsSettings, fleet: Fleet) -> None:
    assert channels_of(settings, fleet) == []
    hook = settings.model_copy(update={"webhook_url": SecretStr("https://hooks.example/secret")})
    assert [channel.name for channel in channels_of(hook, fleet)] == ["webhook"]
    both = hook.model_copy(update={"telegram_token": SecretStr("123456:secret")})
    assert [channel.name for channel in channels_of(both, with_chat(fleet))] == ["webhook", "telegram"]
    with pytest.raises(ConfigurationError) as error:
        channels_of(settings, with_chat(fleet))
    assert error.value.key == "TELEGRAM_BOT_TOKEN"
