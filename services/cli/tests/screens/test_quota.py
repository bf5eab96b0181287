"""derivfleet quota against a real gateway service: once, for programs, and live on a real terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from derivfleet.cli.screens.quota import LEGEND, cells_of, gauge, quota_bars, quota_line, quota_screen, savings_of
from derivfleet.v1 import control_pb2, quota_pb2

if TYPE_CHECKING:
    from conftest import Fleet

TIMEOUT_S = 30.0


def text_of(answer: control_pb2.GetStatusResponse, bot: str = "", width: int = 160, height: int | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    for part in quota_screen(answer, bot, width, height):
        console.print(part, highlight=False)
    return console.export_text()


def row_of(text: str, first: str) -> list[str]:
    """The cells of the first row that begins so, without its bar."""
    line = next(line for line in text.splitlines() if line.startswith(first))
    return [cell.strip() for cell in re.split("[│┃]", line)]


async def test_once_it_shows_windows_reserves_loans_waits_and_savings(fleet: Fleet) -> None:
    result = await fleet.run("quota", "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout
    head = "demo: 40 calls sent, 1 refused by Deriv for rate; 129 calls saved: history 120, ticks 9"
    assert text.splitlines()[0].rstrip() == head
    trade, window, bar, *cells = row_of(text, "trade  │")
    assert (trade, window, cells) == ("trade", "60s", ["90", "34", "218", "342", "360", "now"])
    assert re.fullmatch("█+▒+─+·+", bar)
    assert row_of(text, "trade  │ over-4") == ["trade", "over-4", "79/60", "borrows 19", "3", "in 1.2 s (60s)"]
    assert row_of(text, "       │ trend-75") == ["", "trend-75", "11/240", "lends 19", "0", "now"]
    assert LEGEND in text
    assert "breaker" not in text


async def test_one_bot_alone_is_shown_with_its_wait(fleet: Fleet) -> None:
    text = (await fleet.run("quota", "--bot", "over-4")).stdout
    assert "over-4" in text
    assert "trend-75" not in text
    told = json.loads((await fleet.run("quota", "--bot", "over-4", "--json")).stdout)
    (account,) = told["accounts"]
    assert [one["bot"] for one in (*account["shares"], *account["next_calls"])] == ["over-4", "over-4"]


async def test_for_programs_it_is_the_quota_alone(fleet: Fleet) -> None:
    told = json.loads((await fleet.run("quota", "--json")).stdout)
    (account,) = told["accounts"]
    assert set(account) == {
        "account",
        "breaker",
        "calls_saved",
        "calls_sent",
        "next_calls",
        "rejected_by_deriv",
        "shares",
        "windows",
    }
    assert account["breaker"]["state"] == "closed"
    assert account["windows"][0]["reserved"] == 34
    assert account["calls_saved"][1] == {"kind": "history", "calls": "120"}


async def test_a_watch_in_a_pipe_ends_with_the_fleet(fleet: Fleet) -> None:
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    fleet.write(gateway=fleet.folder.read_file().gateway, pid=supervisor.pid)
    told = asyncio.create_task(fleet.run("quota", "--json", "--watch", "0.1"))
    async with asyncio.timeout(TIMEOUT_S):
        while fleet.control.looks < 3:  # noqa: ASYNC110 - the looks come over a socket
            await asyncio.sleep(0.01)
        await supervisor.communicate(b"\n")
        result = await told
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) >= 3
    assert {len(json.loads(line)["accounts"]) for line in lines} == {1}


async def test_on_a_terminal_it_is_live_until_ctrl_c(fleet: Fleet) -> None:
    """The real command in a process of its own, on a terminal of 100 by 24 characters."""
    master, slave = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
    words = [sys.executable, "-m", "derivfleet.cli", "quota", "--watch", "0.2", "--run-dir", str(fleet.folder.path)]
    # A shell starts its background jobs deaf to Ctrl-C, and so would be what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = await asyncio.create_subprocess_exec(
        *words, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    os.close(slave)
    seen = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            seen.extend(os.read(master, 65_536))

    loop.add_reader(master, read)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while b"79/60" not in seen:  # noqa: ASYNC110 - what a process writes sets no event
                await asyncio.sleep(0.02)
            fleet.control.status.accounts[0].shares[0].used = 83
            while b"83/60" not in seen:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            await fleet.stop()
            while b"does not answer" not in seen:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        loop.remove_reader(master)
        os.close(master)
        if process.returncode is None:
            process.kill()
    assert b"Traceback" not in seen


async def test_the_screen_fits_the_terminal_and_shows_who_is_busiest(fleet: Fleet) -> None:
    account = fleet.control.status.accounts[0]
    for number in range(30):
        account.shares.add(bot=f"bot-{number:02}", bucket="trade", window_s=60, share=7, used=number)
    account.windows.add(bucket="virtual_sell", window_s=60, limit=57, deriv_limit=60)
    account.shares.add(bot="over-4", bucket="virtual_sell", window_s=60, share=28, used=2)
    for width in (80, 100, 112, 160):
        for height in (20, 24, 40):
            text = text_of(fleet.control.status, width=width, height=height)
            assert len(text.splitlines()) <= height, text
            assert max(map(len, text.splitlines())) <= width
            assert "…" not in text
            assert "over-4" in text, "who waits is shown before who does not"
            assert "bot-29" in text
            assert "bot-00" not in text
            assert re.search("and [0-9]+ more", text)
    assert "bot-00" in text_of(fleet.control.status, width=80)


async def test_a_bucket_that_no_bot_uses_has_its_bars_and_no_rows(fleet: Fleet) -> None:
    account = fleet.control.status.accounts[0]
    account.windows.add(bucket="lists", window_s=60, limit=28, deriv_limit=30, reserved=1)
    account.shares.add(bot="over-4", bucket="lists", window_s=60, share=12)
    assert text_of(fleet.control.status).count("lists") == 1
    assert text_of(fleet.control.status, "over-4").count("lists") == 2


async def test_the_row_of_the_window_that_binds_tells_when_the_next_call_starts(fleet: Fleet) -> None:
    account = fleet.control.status.accounts[0]
    account.windows.add(bucket="trade", window_s=3600, limit=13_680, used=13_000, deriv_limit=14_400)
    for one in account.next_calls:
        one.forecast.wait_ms, one.forecast.binding_window = 2_500, "trade/3600s"
    text = text_of(fleet.control.status)
    assert (row_of(text, "trade  │ 60s")[-1], row_of(text, "       │ 3600s")[-1]) == ("", "in 2.5 s")
    for one in account.next_calls:
        one.forecast.binding_window = "trade/refused"
    assert row_of(text_of(fleet.control.status), "trade  │ 60s")[-1] == "in 2.5 s (refused)"


async def test_an_open_breaker_and_a_young_fleet_are_said(fleet: Fleet) -> None:
    account = fleet.control.status.accounts[0]
    retry_ns = fleet.control.status.time_ns + 4_000_000_000
    breaker = control_pb2.CircuitBreakerStatus(state="open", reason="5 of 5 answers were lost", retry_time_ns=retry_ns)
    account.breaker.CopyFrom(breaker)
    del account.calls_saved[:]
    head = text_of(fleet.control.status).splitlines()[0]
    assert head.rstrip().endswith("no calls saved yet; breaker open, tried again in 4 s: 5 of 5 answers were lost")


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=4), st.integers(8, 60))
def test_the_cells_of_a_bar_are_in_proportion(parts: list[int], width: int) -> None:
    cells = cells_of(parts, width)
    if not any(parts):
        assert cells == [0] * len(parts)
        return
    assert sum(cells) == width
    for part, cell in zip(parts, cells, strict=True):
        assert (cell > 0) == (part > 0), "what there is, is seen"
        # Each part that is too small for a cell takes one all the same, so the others may lose as many.
        assert abs(cell - part / sum(parts) * width) <= len(parts)
    ranked = sorted(zip(parts, cells, strict=True))
    assert [cell for _, cell in ranked] == sorted(cells), "more never looks like less"


@given(st.integers(0, 400), st.integers(0, 100))
def test_a_bar_never_grows_beyond_its_length(used: int, reserved: int) -> None:
    window = quota_pb2.QuotaWindow(bucket="t", window_s=60, limit=342, used=used, reserved=reserved, deriv_limit=360)
    assert len(gauge(window, 16)) == 16
    assert ("▒" in gauge(window, 16).plain) == (reserved > 0)


def test_bars_stand_side_by_side_and_fit() -> None:
    windows = [
        quota_pb2.QuotaWindow(bucket="virtual_sell", window_s=window_s, limit=57, used=9, deriv_limit=limit)
        for window_s, limit in ((3600, 1_800), (60, 60))
    ]
    for width in (66, 80):
        console = Console(width=width, file=io.StringIO(), record=True)
        console.print(quota_bars(windows, width))
        (line,) = console.export_text().splitlines()
        assert line.index("60s") < line.index("3600s")
        assert "9/1800" in line


def test_nothing_lent_waiting_or_saved_is_no_line() -> None:
    assert not quota_line(control_pb2.AccountStatus())
    shares = [
        quota_pb2.QuotaShare(bot="a", bucket="trade", window_s=window_s, share=9, used=12, borrowed=3, waiting=2)
        for window_s in (3600, 60)
    ]
    line = quota_line(control_pb2.AccountStatus(shares=shares))
    assert line.plain == "3 of trade/60s borrowed · 2 waiting", "a loan and a waiting call are told once"


def test_savings_are_told_with_the_largest_first() -> None:
    saved = [quota_pb2.CallsSaved(kind=kind, calls=calls) for kind, calls in (("a", 1), ("b", 5), ("c", 0))]
    assert savings_of(saved) == "6 calls saved: b 5, a 1"
