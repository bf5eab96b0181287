"""Which ways of telling there are, and what each sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.common.redaction import hide
from derivfleet.metrics.alerts.channels import ChannelError, Telegram, Webhook, channels_of

if TYPE_CHECKING:
    import aiohttp
    from conftest import Receiver

    from derivfleet.metrics.settings import MetricsSettings

SECRET = "T0CANARY/B1CANARY/canary-of-the-webhook"


@pytest.fixture
def fleet(settings: MetricsSettings) -> Fleet:
    return load_fleet(settings.fleet)


def with_chat(fleet: Fleet) -> Fleet:
    plain = fleet.model_dump()
    bots = [{**bot, "strategy": bot["parameters"].pop("strategy")} for bot in plain["bots"]]
    return Fleet.model_validate({**plain, "bots": bots, "alerts": {"telegram": {"chat_id": -100}}})


async def test_a_channel_is_there_if_its_secret_is(settings: MetricsSettings, fleet: Fleet) -> None:
    assert channels_of(settings, fleet) == []
    hook = settings.model_copy(update={"webhook_url": SecretStr("https://hooks.example/secret")})
    assert [channel.name for channel in channels_of(hook, fleet)] == ["webhook"]
    both = hook.model_copy(update={"telegram_token": SecretStr("123456:secret")})
    assert [channel.name for channel in channels_of(both, with_chat(fleet))] == ["webhook", "telegram"]
    with pytest.raises(ConfigurationError) as error:
        channels_of(settings, with_chat(fleet))
    assert error.value.key == "TELEGRAM_BOT_TOKEN"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_no_secret_is_in_what_is_said_of_a_failure(
    session: aiohttp.ClientSession, receiver: Receiver, status: int
) -> None:
    hide(SECRET)
    url = f"{receiver.url}/services/{SECRET}"
    receiver.answers = [(status, {"Location": "http://127.0.0.1:1/elsewhere"})]
    with pytest.raises(ChannelError) as caught:
        await Webhook(url).send(session, 1, "x")
    with pytest.raises(ChannelError) as unreachable:
        await Webhook(f"http://127.0.0.1:1/services/{SECRET}").send(session, 1, "x")
    for error in (caught.value, unreachable.value):
        assert "canary" not in str(error).lower()
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
    assert "canary" not in repr(Webhook(url)).lower() + repr(Telegram("canary", "1", url)).lower()


@pytest.mark.xfail(strict=True, raises=ChannelError, reason="a webhook is told the text in Slack's field only")
async def test_discord_gets_the_field_that_it_reads(session: aiohttp.ClientSession, receiver: Receiver) -> None:
    # It refuses a message without its own field for text, as an empty one.
    receiver.reads = "content"
    await Webhook(f"{receiver.url}/api/webhooks/1/abc").send(session, 1, "FIRING x")
