"""A report in each of its forms says the same."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from derivfleet.cli.reports.formats import csv_of, html_of, markdown_of, report_screen
from derivfleet.cli.reports.tables import report_tables
from derivfleet.v1 import reports_pb2

DAY_S = 1_795_132_800


def bot(name: str, profit: str) -> reports_pb2.BotReport:
    return reports_pb2.BotReport(
        bot=name,
        ops=9,
        settled=4,
        wins=2,
        win_rate=0.5,
        profit=profit,
        staked="1.40",
        uptime=0.25,
        profit_and_loss=reports_pb2.ProfitAndLoss(
            name=name, settled=4, wins=2, win_rate_low=0.15, win_rate_high=0.85, drawdown="0.70", peak_exposure="1.05"
        ),
        phases=[reports_pb2.PhaseLatency(phase="buy", count=5, p50_ms=21.4, p95_ms=80.0, p99_ms=95.6)],
        waits=[reports_pb2.Wait(cause="trade/3600s", count=3, total_s=123.4, p50_ms=9, p95_ms=40_000)],
    )


@pytest.fixture
def answer() -> reports_pb2.GetReportResponse:
    report = reports_pb2.Report(
        account="demo",
        kind="day",
        time_zone="Europe/Berlin",
        state="final",
        revision=2,
        start_epoch_s=DAY_S - 3_600,
        end_epoch_s=DAY_S + 82_800,
        filled_to_epoch_s=DAY_S + 82_800,
        bots=[bot("over-4", "-0.26"), bot("<trend>|", "1.00")],
        fleet=bot("", "0.74"),
        symbols=[reports_pb2.ProfitAndLoss(name="R_100", settled=4, profit="0.74")],
        bottlenecks=[reports_pb2.Bottleneck(text="over-4 waits for the hour window of trade calls 41% of the time")],
        completeness=reports_pb2.Completeness(
            orders_in_feed=4, orders_traced=3, profit_untraced="-0.35", spans_sampled=5, spans_represented=50
        ),
    )
    before = reports_pb2.Report()
    before.CopyFrom(report)
    before.start_epoch_s -= 86_400
    before.bots[0].profit = "3.21"
    return reports_pb2.GetReportResponse(report=report, before=before, day_before=before)


SAID = (
    "demo: 2026-11-20 00:00:00 to 2026-11-21 00:00:00 Europe/Berlin, final (revision 2: late news changed it)",
    "over-4 waits for the hour window of trade calls 41% of the time",
    "4 settled orders, 3 of them traced, profit of the others -0.35",
    "5 spans are a sample that stands for 50",
    "50% (15%–85%)",
    "+3.21",
    "-0.26",
    "21/80/96",
)


def test_a_terminal_shows_everything(answer: reports_pb2.GetReportResponse) -> None:
    console = Console(width=220, file=io.StringIO(), record=True)
    for part in report_screen(report_tables(answer)):
        console.print(part, highlight=False)
    text = console.export_text()
    for words in SAID:
        assert words in text


def test_markdown_shows_everything_and_its_tables_have_even_rows(answer: reports_pb2.GetReportResponse) -> None:
    text = markdown_of(report_tables(answer))
    for words in SAID:
        assert words in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1


class Cells(HTMLParser):
    """The texts of a page, and how many cells each row has."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.rows: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_everything_and_needs_nothing_else(answer: reports_pb2.GetReportResponse) -> None:
    page = html_of(report_tables(answer))
    cells = Cells()
    cells.feed(page)
    text = "\n".join(cells.texts)
    for words in SAID:
        assert words in text
    assert "<trend>" not in page
    assert "<trend>|" in text
    assert min(cells.rows) >= 2
    assert "http" not in page


def test_csv_has_one_line_a_bot_and_one_for_the_fleet(answer: reports_pb2.GetReportResponse) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_of(answer.report))))
    assert [row["bot"] for row in rows] == ["over-4", "<trend>|", ""]
    assert [row["profit"] for row in rows] == ["-0.26", "1.00", "0.74"]
    assert (rows[2]["orders_in_feed"], rows[2]["orders_traced"], rows[0]["orders_in_feed"]) == ("4", "3", "")
    assert (rows[0]["buy_p95_ms"], rows[0]["queue_p95_ms"], rows[0]["revision"]) == ("80.000", "0.000", "2")
