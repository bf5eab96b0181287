"""Where alerts are told: a webhook in Slack's format, and Telegram. Addresses and tokens are secrets, never shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import aiohttp

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.settings import MetricsSettings

__all__ = ["Channel", "ChannelError", "Telegram", "Webhook", "channels_of"]

_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
_TOO_MANY = 429
_GONE = frozenset({400, 401, 403, 404, 405, 410, 413})
"""Answers that will be the same next time: the address, the token or the chat is wrong."""


class ChannelError(Exception):
    """It was not told.

    ``retry_s``: after which the other side asked to be tried again; ``lasting``: somebody must set something right.
    """

    def __init__(self, problem: str, retry_s: float = 0.0, *, lasting: bool = False) -> None:
        super().__init__(redact(problem))
        self.retry_s = retry_s
        self.lasting = lasting


class Channel(Protocol):
    """One way to people."""

    @property
    def name(self) -> str:
        """Under which its notices wait in the store."""
        ...

    async def send(self, session: aiohttp.ClientSession, number: int, text: str) -> None:
        """Tell it once. ``number`` is the same whenever the same notice is told. Raises ChannelError."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """An incoming webhook that takes ``{"text": …}``: Slack, Mattermost, Rocket.Chat, or a receiver of your own."""

    url: str
    name: str = "webhook"

    async def send(self, session: aiohttp.ClientSession, number: int, text: str) -> None:
        # Slack's three special characters; the rest of its markup is welcome to mean nothing.
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await _post(session, self.url, {"text": safe}, {"Idempotency-Key": f"derivfleet-{number}"})


@dataclass(frozen=True, slots=True, repr=False)
class Telegram:
    """A chat of a bot, by the Bot API's ``sendMessage`` (https://core.telegram.org/bots/api#sendmessage)."""

    token: str
    chat_id: str
    base_url: str
    name: str = "telegram"

    async def send(self, session: aiohttp.ClientSession, number: int, text: str) -> None:
        del number
        body = {"chat_id": self.chat_id, "text": text, "disable_web_page_preview": True}
        await _post(session, f"{self.base_url}/bot{self.token}/sendMessage", body, {})


async def _post(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, object], headers: Mapping[str, str]
) -> None:
    """POST JSON; any 2xx is fine. No redirect is followed: it could carry the secret somewhere else."""
    try:
        async with session.post(url, json=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT) as answer:
            if answer.ok and answer.status < 300:  # noqa: PLR2004 - 2xx
                return
            retry_s = await _retry_s(answer)
            raise ChannelError(f"answered {answer.status}", retry_s, lasting=answer.status in _GONE)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # The text of a client's error may hold the address, which is the secret: only its kind is told.
        raise ChannelError(f"no answer: {type(error).__name__}") from None


async def _retry_s(answer: aiohttp.ClientResponse) -> float:
    """How long a refusal for rate asks to wait: Slack says it in a header, Telegram in the body too."""
    if answer.status != _TOO_MANY:
        return 0.0
    told: Any = answer.headers.get("Retry-After")
    if told is None:
        try:
            body = cast("dict[str, Any]", json.loads(await answer.text()))
            told = body.get("parameters", {}).get("retry_after", 0)
        except (ValueError, AttributeError):
            told = 0
    try:
        return max(0.0, min(3600.0, float(told)))
    except (TypeError, ValueError):
        return 0.0


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
