"""Whom the service talks to outside the fleet, and with which secret: alert channels, and Supabase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide
from derivfleet.metrics.alerts.channels import Telegram, Webhook
from derivfleet.metrics.replicate.replicator import Replicator

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.alerts.channels import Channel
    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.metrics.store import Store

__all__ = ["channels_of", "replicator_of"]


def channels_of(settings: MetricsSettings, fleet: Fleet) -> list[Channel]:
    """The ways to tell alerts that there is a secret for. Raises ConfigurationError if one half is missing."""
    channels: list[Channel] = []
    webhook, token = settings.webhook_url.get_secret_value(), settings.telegram_token.get_secret_value()
    hide(webhook, token)
    if webhook:
        channels.append(Webhook(webhook))
    chat = fleet.alerts.telegram
    if token and chat is not None:
        channels.append(Telegram(token, chat.chat_id, chat.base_url))
    elif chat is not None:
        raise ConfigurationError("TELEGRAM_BOT_TOKEN", "is required, for the fleet file has alerts.telegram")
    return channels


async def replicator_of(
    settings: MetricsSettings, fleet: Fleet, store: Store, clock: Clock, ending: AsyncExitStack
) -> Replicator | None:
    """What copies the store to Supabase, if there is a project. Raises ConfigurationError if one half is missing."""
    url, key = settings.supabase_url, settings.supabase_service_key.get_secret_value()
    hide(key)
    if not url and not key:
        return None
    if not url or not key:
        missing = "SUPABASE_URL" if key else "SUPABASE_SERVICE_KEY"
        raise ConfigurationError(missing, "is missing: SUPABASE_URL and SUPABASE_SERVICE_KEY belong together")
    # Its packages take a second of processor time to import, which a fleet without Supabase need not spend.
    from derivfleet.metrics.replicate.remote import Supabase  # noqa: PLC0415

    remote = Supabase(url, key)
    ending.push_async_callback(remote.close)
    introduction = {
        "fleet": f"{fleet.fleet} ({settings.copied_as})" if settings.copied_as else fleet.fleet,
        "account": fleet.accounts[0].key,
        "bots": [bot.name for bot in fleet.bots],
    }
    return Replicator(store, remote, clock, introduction, fleet.supabase.every_s, fleet.supabase.batch_rows)
