"""The live page in a real browser: it moves, filters, speaks to the keyboard, and says when it is old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser.stalling_proxy import stalling_proxy
from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Stage, Watched

    OpenPage = Callable[..., AbstractAsyncContextManager[Watched]]

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_figures_move_by_themselves_and_agree_with_the_gateway(open_page: OpenPage, stage: Stage) -> None:
    async with open_page() as watched:
        page = watched.page
        await expect(page.locator("#link")).to_have_text("live")
        await expect(page.locator("#chips")).to_contain_text("demo")
        before = await page.locator("#win-note").inner_text()
        await expect(page.locator("#win-note")).not_to_have_text(before)
        assert await page.locator("#curve svg path.line").count() == 2
        assert await page.locator("#usage svg path.line").count() >= 1
        assert await page.locator("#last .order").count() > 0
        login = (await stage.fleet.account()).login_id
        await expect(page.locator("#chips")).to_contain_text(login)
        assert "#" in page.url
        assert "token" not in page.url
        await watched.shoot("dashboard-dark")
        await watched.shoot("dashboard-dark-whole", full=True)


async def test_bots_are_filtered_sorted_and_picked(open_page: OpenPage) -> None:
    async with open_page() as watched:
        page = watched.page
        rows = page.locator("#bots tbody tr:visible")
        await expect(rows).to_have_count(4)
        await page.fill("#bots-text", "moving r_75")
        await expect(rows).to_have_count(1)
        await expect(page.locator("#bots-note")).to_have_text("1 of 4")
        await page.fill("#bots-text", "nothing like it")
        await expect(page.locator("#bots-empty")).to_be_visible()
        await page.fill("#bots-text", "")
        await page.select_option("#bots-state", "silent")
        await expect(rows).to_have_count(1)
        await expect(rows.locator("th")).to_contain_text("idle")
        await page.select_option("#bots-state", "")
        await page.get_by_role("button", name="Settled").click()
        assert await page.locator("#bots th.settled").get_attribute("aria-sort") == "descending"
        assert "idle" in await rows.last.inner_text()
        await page.get_by_role("button", name="evens", exact=True).click()
        await expect(page.locator("#curve-title")).to_have_text("Profit of evens")
        await expect(page.locator("#last-title")).to_have_text("Last orders of evens")
        await page.keyboard.press("Escape")
        await expect(page.locator("#curve-title")).to_have_text("Profit over time")


async def test_the_keyboard_reaches_everything(open_page: OpenPage) -> None:
    async with open_page() as watched:
        page = watched.page
        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#help")).not_to_be_visible()
        for key, view in (("2", "orders"), ("3", "reports"), ("4", "alerts"), ("1", "overview")):
            await page.keyboard.press(key)
            await expect(page.locator(f"#{view}")).to_be_visible()
            await expect(page.locator(f'nav [data-view="{view}"]')).to_have_attribute("aria-current", "page")
        await page.keyboard.press("/")
        await expect(page.locator("#bots-text")).to_be_focused()
        await page.keyboard.type("t4")
        await expect(page.locator("#bots-text")).to_have_value("t4")  # typing is typing
        await page.keyboard.press("Escape")
        await expect(page.locator("#bots-text")).to_have_value("")
        await page.locator(".skip").focus()
        seen: set[str] = set()
        for _ in range(12):
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert await page.evaluate(outline) != "none"
            seen.add(await page.evaluate("document.activeElement.id || document.activeElement.textContent"))
            await page.keyboard.press("Tab")
        assert {"Overview", "Orders", "Reports", "theme", "help-open", "curve"} <= seen
        await page.locator("#curve").focus()
        await page.keyboard.press("Home")
        await expect(page.locator("#curve-read")).to_contain_text("UTC")
        await page.keyboard.press("?")
        await page.uncheck("#help-on")
        await page.keyboard.press("Escape")
        await page.keyboard.press("3")
        await expect(page.locator("#overview")).to_be_visible()


async def test_the_theme_follows_the_system_until_one_is_chosen(open_page: OpenPage) -> None:
    async with open_page(color_scheme="light") as watched:
        page = watched.page
        colour = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(colour)
        await watched.shoot("dashboard-light")
        await page.emulate_media(color_scheme="dark")
        dark = await page.evaluate(colour)
        assert dark != light
        await page.keyboard.press("t")  # dark
        await page.keyboard.press("t")  # light, whatever the system says
        assert await page.evaluate(colour) == light
        await page.reload()
        await page.locator("#bots tbody tr").first.wait_for()
        assert await page.evaluate(colour) == light


async def test_a_page_whose_feed_stalls_says_so_and_recovers(open_page: OpenPage, stage: Stage) -> None:
    async with stalling_proxy(stage.fleet.web_url) as proxy, open_page(proxy.url) as watched:
        page = watched.page
        await expect(page.locator("#link")).to_have_text("live")
        proxy.shut()
        await expect(page.locator("#link")).to_contain_text("stale")
        await expect(page.locator("#banner")).to_contain_text("What is shown is of")
        await watched.shoot("dashboard-stale")
        proxy.open()
        await expect(page.locator("#link")).to_have_text("live")
        await expect(page.locator("#banner")).not_to_be_visible()
        # The service goes away altogether: the browser itself prints that, and nothing else.
        await page.context.set_offline(True)
        await proxy.end()
        await expect(page.locator("#link")).to_have_text("not connected")
        await page.context.set_offline(False)
        await expect(page.locator("#link")).to_have_text("live")
        watched.errors = [error for error in watched.errors if "net::ERR_" not in error]
