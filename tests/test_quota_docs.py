"""``docs/quota.md`` shows what ``derivfleet quota`` drew: it must be what it would draw of the same figures today."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from derivfleet.cli.screens.quota import quota_screen
from derivfleet.v1 import control_pb2, quota_pb2

PAGE = (Path(__file__).parents[1] / "docs/quota.md").read_text()
EXAMPLE = PAGE.partition("<!-- quota -->\n```text\n")[2].partition("```\n<!-- /quota -->")[0]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")]


def forecast_of(bucket: str, text: str) -> quota_pb2.Forecast:
    waiting = re.fullmatch(r"in ([0-9.]+) s(?: \((\w+)\))?", text)
    if waiting is None:
        return quota_pb2.Forecast(bucket=bucket)
    wait_ms = round(float(waiting[1]) * 1000)
    return quota_pb2.Forecast(bucket=bucket, wait_ms=wait_ms, binding_window=f"{bucket}/{waiting[2]}")


def read_back(text: str) -> control_pb2.GetStatusResponse:
    """The figures that the picture shows."""
    head, *lines = text.splitlines()
    name, sent, refused, saved = re.findall(r"^(\w+): (\d+) calls sent, (\d+) refused by Deriv for rate; (.*)$", head)[
        0
    ]
    account = control_pb2.AccountStatus(account=name, calls_sent=int(sent), rejected_by_deriv=int(refused))
    for kind, calls in re.findall(r"(\w+) (\d+)(?:, |$)", saved.partition(": ")[2]):
        account.calls_saved.add(kind=kind, calls=int(calls))
    tables = "\n".join(lines).split("\n\n")
    bucket = ""
    for line in tables[0].splitlines()[2:]:
        first, window, _, used, kept, _, ours, derivs, _ = cells_of(line)
        bucket = first or bucket
        account.windows.add(
            bucket=bucket,
            window_s=int(window.removesuffix("s")),
            used=int(used),
            reserved=int(kept),
            limit=int(ours),
            deriv_limit=int(derivs),
        )
    for line in tables[1].splitlines()[2:-1]:
        if line.startswith("─"):
            continue
        first, bot, minute, hour, loan, waiting, begin = cells_of(line)
        bucket = first or bucket
        borrowed, lent = (int("".join(re.findall(rf"{word} (\d+)", loan)) or 0) for word in ("borrows", "lends"))
        for window_s, part in ((60, minute), (3600, hour)):
            used, share = map(int, part.split("/"))
            account.shares.add(
                bot=bot,
                bucket=bucket,
                window_s=window_s,
                share=share,
                used=used,
                borrowed=borrowed if window_s == 60 else 0,
                lent=lent if window_s == 60 else 0,
                waiting=int(waiting),
            )
        account.next_calls.add(bot=bot, call="buy", forecast=forecast_of(bucket, begin))
    # Buckets that nobody uses now have no rows, but a next call all the same.
    told = {share.bucket for share in account.shares}
    for line in tables[0].splitlines()[2:]:
        first, *_, begin = cells_of(line)
        if begin and first and first not in told:
            account.next_calls.add(bot="any", call="buy", forecast=forecast_of(first, begin))
    return control_pb2.GetStatusResponse(accounts=[account])


def test_the_example_is_what_would_be_drawn_of_its_figures() -> None:
    console = Console(width=180, file=io.StringIO(), record=True)
    for part in quota_screen(read_back(EXAMPLE), "", console.width):
        console.print(part, highlight=False)
    drawn = "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())
    assert drawn == EXAMPLE


def test_the_figures_of_the_example_add_up() -> None:
    (account,) = read_back(EXAMPLE).accounts
    for window in account.windows:
        assert window.used + window.reserved <= window.limit < window.deriv_limit
    loans = [share for share in account.shares if share.borrowed or share.lent]
    assert any(share.borrowed for share in loans), "the example shows a loan"
    for share in loans:
        assert share.borrowed == max(0, share.used - share.share)
        assert share.lent <= max(0, share.share - share.used)
    assert any(share.waiting for share in account.shares), "the example shows a call that waits"
