"""A real fleet with a real browser before it; every page is watched for errors and for what comes from elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from browser.history import History
from playwright.async_api import async_playwright, expect
from running_fleet import eventually, one_bot, running_fleet

from derivfleet.common.rpc.own_token import read_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from playwright.async_api import Browser, ConsoleMessage, Page, Request
    from running_fleet import RunningFleet

SCREENS = Path("build/screens")
AVERAGES = {
    "strategy": "moving_average",
    "symbols": ["R_75"],
    "parameters": {"fast_ticks": 2, "slow_ticks": 4, "duration_ticks": 1},
}
BOTS = [
    one_bot("digits"),
    one_bot("evens", symbols=["1HZ50V"], stake=0.5),
    one_bot("averages", **AVERAGES),
    one_bot("idle", symbols=["R_10"]),
]
RUNNING = ("digits", "evens", "averages")
PATIENCE_MS = 60_000.0
expect.set_options(timeout=PATIENCE_MS)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Seen by the page itself, so that a violation that Chromium does not print counts too.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


def browser_path() -> str:
    """The browser of this machine; skips the test if there is none, or fails it where one is required."""
    named = os.environ.get("DERIVFLEET_CHROMIUM", "")
    found = named or next((path for name in _BROWSERS if (path := shutil.which(name))), "")
    if not found:
        told = "no chromium on this machine: install it, or set DERIVFLEET_CHROMIUM=/path/to/it"
        if os.environ.get("DERIVFLEET_BROWSER") == "required":
            pytest.fail(told)
        pytest.skip(told)
    return found


@dataclass
class Watched:
    """A page and what went wrong on it."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list[str])
    strangers: list[str] = field(default_factory=list[str])

    def listen(self) -> None:
        """Note errors, and requests to anybody but the page's own server."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(f"{self.base}/"):
            self.strangers.append(request.url)

    async def go(self, place: str) -> None:
        """Another view, as a click on a link does it."""
        await self.page.evaluate("place => { location.hash = place; }", place)

    async def shoot(self, name: str, *, full: bool = False) -> None:
        """A picture for people, in ``build/screens``."""
        await self.page.screenshot(path=SCREENS / f"{name}.png", full_page=full)


@dataclass
class Stage:
    """A fleet that trades, and a browser."""

    fleet: RunningFleet
    browser: Browser
    yesterday: Decimal
    """The profit of the day before today, by the records that the store was filled with."""

    @property
    def token(self) -> str:
        return self.fleet.page_token

    def token_of(self, bearer: str) -> str:
        return read_token(self.fleet.folder / f"tokens/{bearer}.token", "token")

    @asynccontextmanager
    async def page(self, base: str = "", *, signed_in: bool = True, **options: Any) -> AsyncGenerator[Watched, None]:
        """A fresh browser profile with the page open; at the end nothing may have gone wrong in it."""
        base = base or self.fleet.web_url
        options = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"} | options
        context = await self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(_WATCH)
        watched = Watched(await context.new_page(), base)
        watched.listen()
        try:
            await watched.page.goto(f"{base}/#token={self.token}" if signed_in else f"{base}/")
            if signed_in:
                await watched.page.locator("#bots tbody tr").first.wait_for()
            yield watched
            assert watched.errors == []
            assert watched.strangers == []
            assert await watched.page.evaluate("window.violations") == []
        finally:
            await context.close()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    """Three bots that trade, one that does not, three days of past, and a browser."""
    path = browser_path()
    folder = tmp_path_factory.mktemp("fleet")
    history = History(list(RUNNING), int(time.time()), days=3)
    await history.write_orders(folder / "metrics.sqlite")
    async with (
        running_fleet(folder, bots=BOTS, running=RUNNING, speed=4, with_metrics=True) as fleet,
        async_playwright() as playwright,
    ):
        await history.send_spans(fleet.metrics)
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        stage = Stage(fleet, browser, history.yesterday)

        async def settled() -> int:
            return sum(bot.settled for bot in (await fleet.account()).bots)

        await eventually(settled, lambda count: count >= 6)
        yield stage
        await browser.close()


@pytest.fixture
def open_page(stage: Stage) -> Callable[..., AbstractAsyncContextManager[Watched]]:
    """``open_page(base, signed_in=, **options of a browser context)``: a watched page."""
    return stage.page
