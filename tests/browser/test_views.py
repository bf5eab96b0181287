"""Orders, traces, reports and alerts in a real browser, on a desk and on a phone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe_core_python
import pytest
from browser.history import DAY_S
from playwright.async_api import expect
from running_fleet import eventually, one_bot, running_fleet
from test_doubts import trade_beside

from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Stage, Watched
    from playwright.async_api import Page

    OpenPage = Callable[..., AbstractAsyncContextManager[Watched]]

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
PLACES = ("#/", "#/orders", "#/reports/300", "#/reports/86400", "#/alerts")


async def settled_order(stage: Stage) -> str:
    """An order whose trace is complete."""
    orders = await stage.fleet.orders()
    return next(order.order_id for order in reversed(orders) if order.state == orders_pb2.ORDER_STATE_SETTLED)


async def shown(page: Page, view: str) -> None:
    await expect(page.locator(f"#{view}")).to_be_visible()
    await expect(page.locator(f"#{view}[aria-busy], #{view} [aria-busy]")).to_have_count(0)


async def test_orders_are_searched_by_id_bot_symbol_and_state(open_page: OpenPage, stage: Stage) -> None:
    order_id = await settled_order(stage)
    async with open_page() as watched:
        page = watched.page
        await watched.go("#/orders")
        rows = page.locator("#orders-table tbody tr")
        await expect(rows).to_have_count(50)
        await watched.shoot("orders-dark")
        await page.get_by_role("button", name="Older orders").click()
        await expect(rows).to_have_count(100)
        await page.fill("#orders-text", order_id[:-2])
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text(order_id)
        assert "text=" in page.url
        await page.get_by_role("button", name="Clear").click()
        await expect(page.locator("#orders-text")).to_have_value("")
        await page.select_option("#orders-bot", "averages")
        await page.select_option("#orders-state", "settled")
        await expect(page.locator("#orders-note")).to_contain_text(re.compile(r"order|newest"))
        await expect(rows.filter(has_text="digits")).to_have_count(0)
        await expect(rows.filter(has_text="averages").first).to_be_visible()
        await page.select_option("#orders-symbol", "R_10")
        await expect(page.locator("#orders-empty")).to_be_visible()
        await expect(page.locator("#orders-empty")).to_have_text("No order fits the search.")
        await page.reload()
        await expect(page.locator("#orders-symbol")).to_have_value("R_10")
        await expect(page.locator("#orders-empty")).to_be_visible()


async def test_a_click_on_an_order_shows_its_trace_as_a_waterfall(open_page: OpenPage, stage: Stage) -> None:
    order_id = await settled_order(stage)
    async with open_page() as watched:
        page = watched.page
        await watched.go(f"#/orders?text={order_id}")
        await page.get_by_role("link", name=order_id).click()
        await expect(page.locator("#trace-note")).to_have_text("8 spans, complete")
        names = await page.locator("#trace .name").all_inner_texts()
        assert names[0] == "trade"
        assert {"trade.buy", "gateway.buy", "quota.wait", "deriv.call", "order.settle"} <= set(names)
        assert set(await page.locator("#trace .took small").all_inner_texts()) == {"bot", "gateway"}
        buy, call = (
            page.locator("#trace li").filter(has_text=name).locator(".bar") for name in ("trade.buy", "deriv.call")
        )
        outer, inner = await buy.bounding_box(), await call.bounding_box()
        assert outer is not None
        assert inner is not None
        assert outer["x"] <= inner["x"]
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
        await page.locator("#trace summary").filter(has_text="deriv.call").click()
        await expect(page.locator("#trace details[open]")).to_contain_text("demo/orders")
        await watched.shoot("waterfall-dark")
        await page.get_by_role("button", name="Whole trade").click()
        await expect(page.locator("#trace .goes-on")).to_have_count(0)
        await expect(page.locator("#order-facts")).to_contain_text(order_id)
        await watched.go("#/order/no-such-order")
        await expect(page.locator("#order-empty")).to_contain_text("no order 'no-such-order'")
        watched.errors = [error for error in watched.errors if "404" not in error]


async def test_reports_stand_against_the_period_before(open_page: OpenPage, stage: Stage) -> None:
    today_s = int(stage.fleet.clock.now_s()) // DAY_S * DAY_S
    async with open_page() as watched:
        page = watched.page
        await watched.go("#/reports")
        await expect(page.locator("#report-title")).to_contain_text("UTC")
        await expect(page.locator("#report-bots tbody tr")).to_have_count(4)
        await expect(page.locator("#report-completeness")).to_contain_text("filled up to")
        await page.get_by_role("button", name="Hour").click()
        await expect(page.locator("#profit-curve-title")).to_contain_text("this hour")
        await page.get_by_role("button", name="Day").click()
        await expect(page.locator("#profit-curve-legend")).to_contain_text("the day before")
        await expect(page.locator("#profit-curve svg path.before")).to_have_count(1)
        await expect(page.locator("#row li")).to_have_count(4)
        await watched.shoot("report-dark", full=True)
        await page.keyboard.press("[")
        yesterday = datetime.fromtimestamp(today_s - DAY_S, UTC)
        await expect(page.locator("#report-title")).to_contain_text(f"{yesterday.day} {yesterday:%b} {yesterday.year}")
        figure = (
            (await page.locator("#report-tiles .figure").first.inner_text())
            .replace("\u2212", "-")
            .replace("\u202f", "")
        )
        assert Decimal(figure) == stage.yesterday
        await expect(page.locator("#report-completeness")).to_contain_text("Everything of this period is here")
        await expect(page.locator("#row [aria-current]")).to_contain_text(str(yesterday.day))
        await watched.shoot("report-yesterday-dark")
        await page.keyboard.press("]")
        await expect(page.locator("#report-latest")).to_have_attribute("aria-pressed", "true")


async def test_nothing_is_wider_than_a_phone(open_page: OpenPage, stage: Stage) -> None:
    order_id = await settled_order(stage)
    async with open_page(**PHONE) as watched:
        page = watched.page
        for place in (*PLACES, f"#/order/{order_id}"):
            await watched.go(place)
            await shown(page, {"#/": "overview"}.get(place, place.split("/")[1]))
            await expect(page.locator("#link")).to_have_text("live")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 375, place
            await watched.shoot(
                f"phone{place.replace('#', '').partition(':')[0].replace('/', '-').rstrip('-')}", full=True
            )


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_every_view_is_accessible(open_page: OpenPage, stage: Stage, scheme: str) -> None:
    order_id = await settled_order(stage)
    async with open_page(color_scheme=scheme, reduced_motion="reduce") as watched:
        page = watched.page
        await page.evaluate(AXE)
        found: list[str] = []
        for place in (*PLACES, f"#/order/{order_id}"):
            await watched.go(place)
            await shown(page, {"#/": "overview"}.get(place, place.split("/")[1]))
            result: dict[str, Any] = await page.evaluate("axe.run()")
            found += [
                f"{place} {problem['id']}: {node['target']} {node['failureSummary']}"
                for problem in result["violations"]
                for node in problem["nodes"]
            ]
        assert found == []


async def test_only_readers_get_in(open_page: OpenPage, stage: Stage) -> None:
    async with open_page(signed_in=False) as watched:
        page = watched.page
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await expect(page.locator("#token")).to_be_focused()
        assert await page.locator("#nav").is_hidden()
        await watched.shoot("sign-in-dark")
        for token, told in (("page_reader.wrong", "no valid token"), (stage.token_of("digits"), "may not read")):
            await page.fill("#token", token)
            await page.keyboard.press("Enter")
            await expect(page.locator("#sign-in-problem")).to_contain_text(told)
        await page.fill("#token", stage.token_of("operator"))
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#link")).to_have_text("live")
        (cookie,) = await page.context.cookies()
        assert cookie.get("httpOnly")
        assert cookie.get("sameSite") == "Strict"
        await page.click("#help-open")
        await page.click("#sign-out")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await page.context.cookies() == []
        # What Chromium prints of the two that were refused.
        watched.errors = [error for error in watched.errors if "401" not in error and "403" not in error]


async def test_a_doubtful_order_asks_for_a_person(open_page: OpenPage, tmp_path: Path) -> None:
    """In a fleet of its own: somebody else trades on its account, and an order like theirs is lost."""
    async with running_fleet(tmp_path, bots=[one_bot("one")], with_metrics=True) as fleet:
        await trade_beside(fleet, 0.35)
        await eventually(fleet.account, lambda account: account.foreign_trades == 1)
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        await fleet.buy("lost-1")
        async with open_page(fleet.web_url, signed_in=False) as watched:
            page = watched.page
            await page.goto(f"{fleet.web_url}/#token={fleet.page_token}")
            await page.reload()
            await expect(page.locator("#open-note")).to_have_text("1 waits for you")
            await expect(page.locator("#completeness")).to_contain_text("1 of them waits for you")
            await expect(page.locator("#pressing")).to_contain_text("one: 1 order waits for you")
            await expect(page.locator("#last li").first).to_contain_text("doubtful")
            await watched.shoot("doubt-dark", full=True)
            await watched.go("#/orders?state=unknown")
            await expect(page.locator("#orders-table tbody tr")).to_contain_text("doubtful")
            await watched.go("#/order/lost-1")
            await expect(page.locator("#order-facts")).to_contain_text("somebody else buys the like on this account")
            await watched.shoot("doubt-order-dark")
            await watched.go("#/reports/300")
            await expect(page.locator("#report-completeness")).to_contain_text("nobody knows yet whether it bought")
            # What Chromium prints of the first visit, which had no token.
            watched.errors = [error for error in watched.errors if "401" not in error]
