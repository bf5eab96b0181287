"""Every figure of every report against SQL over the generator's record."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.metrics.reports.periods import Kind, period_at

from .generator import ACCOUNT, NS, START_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from derivfleet.v1 import reports_pb2

    from .delivery import Service
    from .generator import Generator

__all__ = ["Comparison"]

_PHASES = {
    "decide": "name = 'trade.decide'",
    "queue": "name = 'quota.wait'",
    "upstream": "name = 'deriv.call' AND call = 'buy'",
    "buy": "name = 'trade.buy'",
    "settle": "name = 'order.settle'",
}


class Comparison:
    """Counts what it compared, and says of the first difference what it was."""

    def __init__(self, generator: Generator, service: Service) -> None:
        self._generator = generator
        self._service = service
        self._record: sqlite3.Connection = generator.record
        self.figures = 0
        self.reports = 0
        self.revised = 0

    async def compare(self, progress: Callable[[int], None] = lambda _done: None) -> None:
        """Every final hour and day, and every window of the first and the last day. Raises AssertionError."""
        zone = self._service.reports.zone
        end_s = START_S + self._generator.hours * 3_600
        for kind in Kind:
            period = period_at(kind, START_S, zone)
            while period.end_s <= end_s:
                is_edge = period.start_s < START_S + 86_400 or period.end_s > end_s - 86_400
                if kind is not Kind.WINDOW or is_edge:
                    report = await self._service.store.last_report(ACCOUNT, kind, period.start_s)
                    self.reports += 1
                    progress(self.reports)
                    # Nothing happened before the first order, so there the first report is a later one.
                    if report is None:
                        first = self._value("SELECT MIN(bought_ns) FROM orders WHERE told AND NOT denied")
                        assert period.end_s <= max(first // NS, START_S + 3_600), f"{kind} {period} has no final report"
                    else:
                        self.revised += report.revision > 1
                        self._compare(report)
                period = period_at(kind, period.end_s, zone)

    def _value(self, sql: str, *arguments: object) -> int:
        self.figures += 1
        return self._record.execute(sql, arguments).fetchone()[0] or 0

    def _compare(self, report: reports_pb2.Report) -> None:
        at = (report.start_epoch_s * NS, report.end_epoch_s * NS)
        where = f"{report.kind} {report.start_epoch_s} revision {report.revision}"
        for bot in (*report.bots, report.fleet):
            self._compare_bot(bot, at, f"{where} {bot.bot or 'fleet'}")
        for column, lines in (("symbol", report.symbols), ("strategy", report.strategies)):
            for line in lines:
                self._compare_pnl(line, column, line.name, at, f"{where} {line.name}")
        seen = report.completeness
        fed = "FROM orders WHERE NOT denied AND settled_ns >= ? AND settled_ns < ? AND told"
        assert seen.orders_in_feed == self._value(f"SELECT COUNT(*) {fed}", *at), where
        assert seen.orders_traced == self._value(f"SELECT SUM(traced) {fed}", *at), where
        assert _cents(seen.profit_untraced) == self._value(f"SELECT SUM(profit) {fed} AND NOT traced", *at), where
        assert _cents(seen.staked_untraced) == self._value(f"SELECT SUM(stake) {fed} AND NOT traced", *at), where
        strays = "FROM orders WHERE proven AND NOT told AND named_ns >= ? AND named_ns < ?"
        assert seen.traces_without_order == self._value(f"SELECT COUNT(*) {strays}", *at), where
        assert seen.spans == self._value(
            "SELECT COUNT(*) FROM spans WHERE end_ns >= ? AND end_ns < ? AND NOT lost", *at
        )

    def _compare_bot(self, bot: reports_pb2.BotReport, at: tuple[int, int], where: str) -> None:
        self._compare_pnl(bot.profit_and_loss, "bot", bot.bot, at, where)
        spans = "FROM spans WHERE end_ns >= ? AND end_ns < ? AND NOT lost AND (bot = ? OR ? = '')"
        own = (*at, bot.bot, bot.bot)
        assert bot.ops == self._value(f"SELECT COUNT(*) {spans} AND name GLOB 'gateway.*'", *own), where
        told = {error.code: error.count for error in bot.errors}
        errors = f"SELECT code, COUNT(*) {spans} AND code != '' AND name IN ('gateway.buy', 'trade.buy') GROUP BY code"
        assert told == dict(self._record.execute(errors, own).fetchall()), where
        for phase in bot.phases:
            found = self._record.execute(f"SELECT end_ns - start_ns {spans} AND {_PHASES[phase.phase]}", own)
            taken = sorted(value for (value,) in found)
            assert phase.count == len(taken), f"{where} {phase.phase}"
            for percent, value_ms in ((50, phase.p50_ms), (95, phase.p95_ms), (99, phase.p99_ms)):
                true = taken[max(0, math.ceil(percent * len(taken) / 100) - 1)]
                assert abs(value_ms * 1e6 - true) <= true * 0.01 * (1 + 1e-9), f"{where} {phase.phase} p{percent}"
                self.figures += 1
        waits = f"SELECT cause, COUNT(*), SUM(end_ns - start_ns) / 1e9 {spans} AND name = 'quota.wait' GROUP BY cause"
        for cause, count, total_s in self._record.execute(waits, own):
            (wait,) = [one for one in bot.waits if one.cause == cause]
            assert wait.count == count, where
            assert math.isclose(wait.total_s, total_s, rel_tol=1e-9), where
            self.figures += 2

    def _compare_pnl(
        self, line: reports_pb2.ProfitAndLoss, column: str, name: str, at: tuple[int, int], where: str
    ) -> None:
        orders = f"FROM orders WHERE told AND NOT denied AND ({column} = ? OR ? = '')"
        settled = f"{orders} AND settled_ns >= ? AND settled_ns < ?"
        own = (name, name, *at)
        assert line.settled == self._value(f"SELECT COUNT(*) {settled}", *own), where
        assert line.wins == self._value(f"SELECT SUM(profit > 0) {settled}", *own), where
        assert _cents(line.profit) == self._value(f"SELECT SUM(profit) {settled}", *own), where
        assert _cents(line.staked) == self._value(f"SELECT SUM(stake) {settled}", *own), where
        assert line.buys == self._value(f"SELECT COUNT(*) {orders} AND bought_ns >= ? AND bought_ns < ?", *own), where
        assert _cents(line.drawdown) == self._value(
            f"WITH run AS (SELECT SUM(profit) OVER sofar AS total, ROW_NUMBER() OVER sofar AS n {settled} "
            "WINDOW sofar AS (ORDER BY settled_ns, id ROWS UNBOUNDED PRECEDING)) "
            "SELECT MAX(MAX(0, (SELECT MAX(total) FROM run AS earlier WHERE earlier.n <= run.n)) - total) FROM run",
            *own,
        ), where
        held = self._value(
            f"SELECT SUM(stake * 1.0 * (MIN(settled_ns, ?4) - MAX(bought_ns, ?3))) {orders.replace('?', '?1')} "
            "AND settled_ns > ?3 AND bought_ns < ?4",
            *own,
        )
        length_ns = at[1] - at[0]
        assert abs(float(line.mean_exposure) * 100 - held / length_ns) <= 0.51, where


def _cents(text: str) -> int:
    value = Decimal(text) * 100
    assert value == int(value), text
    return int(value)
