"""What the tests of alerts share: a receiver of webhooks, readings to play, and an alarm on virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass
class Receiver:
    """A webhook's other side, and Telegram's, on loopback: takes what is posted, or answers as it is told."""

    url: str = ""
    taken: list[tuple[str, dict[str, Any], str]] = field(default_factory=list[tuple[str, dict[str, Any], str]])
    """Path, body and Idempotency-Key."""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list[tuple[int, dict[str, str]]])
    """Status and headers of the next answers; 200 when there are none."""
    asked: int = 0

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, body, _ in self.taken]

    async def post(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response({"ok": False}, status=status, headers=headers)
        self.taken.append((request.path, await request.json(), request.headers.get("Idempotency-Key", "")))
        return web.json_response({"ok": True})


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver, None]:
    """Listens on a free port."""
    found = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", found.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as opened:
        yield opened
