"""What a probe has found, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from derivfleet.common.clock import NS_PER_S
from derivfleet.probe.core.advice import advise
from derivfleet.probe.core.bounds import STAKE, Experiment
from derivfleet.probe.core.latencies import latencies_of
from derivfleet.probe.core.theories import Span, WindowKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from derivfleet.deriv.vocabulary import Dialect
    from derivfleet.probe.core.advice import Advice
    from derivfleet.probe.core.findings import Finding
    from derivfleet.probe.core.latencies import Latency
    from derivfleet.probe.core.notebook import Notebook

__all__ = ["Report", "json_of", "markdown_of", "settings_of", "text_of"]

_KINDS = {
    WindowKind.FIXED_FROM_FIRST_HIT: "fixed, from the first call on",
    WindowKind.FIXED_ALIGNED: "fixed, by the server's clock",
    WindowKind.SLIDING: "sliding",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A probe that has ended."""

    account: str
    """The account's key in the fleet file."""
    login_id: str
    dialect: Dialect
    began: str
    """ISO 8601, UTC."""
    took_s: float
    calls: int
    latencies_ms: Mapping[str, Sequence[float]]
    notebook: Notebook

    @property
    def rows(self) -> list[tuple[str, str, Finding[object]]]:
        """Key for programs, words for people, and what was found, of what was chosen."""
        note = self.notebook
        window, name = note.window, note.bucket.name
        rows: dict[Experiment, list[tuple[str, str, Finding[object]]]] = {
            Experiment.WINDOW: [
                ("window_kind", "kind of window", window.kind),
                ("calls_per_minute", f"{name} a minute", window.limit),
                ("counts_refused", "refused calls count", window.counts_refused),
                ("is_shared", "all sockets count together", window.is_shared),
            ],
            Experiment.STREAMS: [("streams_per_connection", "streams a socket", note.streams)],
            Experiment.SOCKETS: [("connections", "sockets an account", note.connections)],
            Experiment.CLOCK: [("clock_offset", "Deriv's clock ahead of ours", note.clock)],
        }
        return [row for experiment, found in rows.items() if experiment in note.chosen for row in found]

    def advice(self) -> Advice:
        """What the fleet file should say."""
        return advise(self.notebook, min((ms for times in self.latencies_ms.values() for ms in times), default=None))

    @property
    def latencies(self) -> tuple[Latency, ...]:
        return latencies_of(self.latencies_ms)


def _words(value: object) -> str:
    match value:
        case WindowKind():
            return _KINDS[value]
        case bool():
            return "yes" if value else "no"
        case Span():
            return f"{value.middle_ns / NS_PER_S:+.3f} s ± {value.error_ns / NS_PER_S:.3f} s"
        case _:
            return str(value)


def _found(finding: Finding[object]) -> str:
    if set(finding.values) == {False, True}:
        return "either"
    return " or ".join(_words(value) for value in finding.values) or "–"


def _head(report: Report) -> str:
    return (
        f"account {report.login_id}, {report.dialect} API, {report.began}: "
        f"{report.calls} calls in {report.took_s:.0f} s, stake {STAKE}"
    )


def _tail(report: Report) -> list[str]:
    troubles = [f"{experiment} was broken off: {why}" for experiment, why in report.notebook.troubles.items()]
    return [*troubles, *report.advice().reasons]


_FOUND_HEAD = ("", "value", "how sure", "because")
_LATENCY_HEAD = ("answers to", "n", "p50 ms", "p90 ms", "p99 ms")


def _found_table(report: Report) -> list[tuple[str, ...]]:
    return [(words, _found(one), str(one.confidence), one.because) for _, words, one in report.rows]


def _latency_table(report: Report) -> list[tuple[str, ...]]:
    return [
        (one.call, str(one.count), f"{one.p50_ms:.1f}", f"{one.p90_ms:.1f}", f"{one.p99_ms:.1f}")
        for one in report.latencies
    ]


def text_of(report: Report) -> str:
    """For a terminal."""
    lines = [_head(report), ""]
    for head, table in ((_FOUND_HEAD, _found_table(report)), (_LATENCY_HEAD, _latency_table(report))):
        if table:
            widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
            for row in (head, *table):
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                lines.append("  ".join(cells).rstrip())
            lines.append("")
    return "\n".join([*lines, *_tail(report)])


def markdown_of(report: Report) -> str:
    """For people who read it later."""
    lines = ["# What Deriv was measured to do", "", _head(report), ""]
    for head, table in ((_FOUND_HEAD, _found_table(report)), (_LATENCY_HEAD, _latency_table(report))):
        if table:
            lines += [_bar(head), _bar("---" for _ in head), *(_bar(row) for row in table), ""]
    lines += [f"- {line}" for line in _tail(report)]
    return "\n".join([*lines, "", "```yaml", settings_of(report).rstrip(), "```", ""])


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def settings_of(report: Report) -> str:
    """What belongs into the fleet file, as YAML; why stands above it."""
    advice = report.advice()
    comments = [f"measured on {report.login_id}, {report.began}", *_tail(report)]
    account: dict[str, Any] = {"key": report.account}
    if advice.limits:
        account["limits"] = advice.limits
    body = yaml.safe_dump({"accounts": [account]}, sort_keys=False)
    return "".join(f"# {line}\n" for line in comments) + body


def json_of(report: Report) -> dict[str, Any]:
    """For programs."""
    return {
        "account": report.account,
        "login_id": report.login_id,
        "dialect": str(report.dialect),
        "began": report.began,
        "took_s": round(report.took_s, 3),
        "calls": report.calls,
        "stake": STAKE,
        "bucket": report.notebook.bucket.name,
        "is_complete": report.notebook.is_complete,
        "findings": {
            key: {
                "confidence": str(one.confidence),
                "values": [_plain(value) for value in one.values],
                "because": one.because,
            }
            for key, _, one in report.rows
        },
        "latencies_ms": {
            one.call: {"n": one.count, "p50": one.p50_ms, "p90": one.p90_ms, "p99": one.p99_ms}
            for one in report.latencies
        },
        "surprises": report.notebook.surprises,
        "troubles": {str(experiment): why for experiment, why in report.notebook.troubles.items()},
        "limits": report.advice().limits,
    }


def _plain(value: object) -> object:
    if isinstance(value, Span):
        return {"ahead_s": value.middle_ns / NS_PER_S, "error_s": value.error_ns / NS_PER_S}
    return str(value) if isinstance(value, WindowKind) else value
