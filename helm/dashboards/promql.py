"""PromQL over the series that the Collector's span_metrics connector makes of the fleet's spans.

The chart's ``files/collector.yaml`` makes the series: a counter and a histogram, with each span attribute that is a
dimension as a label whose dots are underscores.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.common.spans import SPANS, Attribute, SpanName

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CALLS",
    "GATEWAY_CALLS",
    "SPAN",
    "Matcher",
    "Spans",
    "Window",
    "anew",
    "counted",
    "label",
    "legend",
    "per_second",
    "quantile",
    "share",
]

CALLS = "traces_span_metrics_calls_total"
"""Spans that have ended."""
BUCKETS = "traces_span_metrics_duration_milliseconds_bucket"
"""How long they took. Milliseconds are the connector's default."""
SPAN = "span_name"
"""The label with the span's name; the connector adds it by itself."""

GATEWAY_CALLS = tuple(name for name in SpanName if name.startswith("gateway."))
"""One server span a call that the gateway took."""


class Window(StrEnum):
    """Over how long a figure is taken."""

    MOMENT = "$__rate_interval"
    """Around each point of a curve: four scrapes at least."""
    STEP = "$__interval"
    """From one point of a curve to the next."""
    RANGE = "$__range"
    """All that the dashboard shows."""


def label(attribute: Attribute) -> str:
    """An attribute as Prometheus names it."""
    return attribute.replace(".", "_")


def legend(name: Attribute | str) -> str:
    """A label's value in the name of a curve."""
    return f"{{{{{label(name) if isinstance(name, Attribute) else name}}}}}"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label, in PromQL's operators."""

    attribute: Attribute
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans by name, of the bots that the dashboard's variable selects.

    Raises ValueError if a matcher names an attribute that one of the spans does not have.
    """

    names: tuple[SpanName, ...]
    where: tuple[Matcher, ...] = ()
    of_chosen_bots: bool = True

    def __post_init__(self) -> None:
        for matcher in self.where:
            self.check(matcher.attribute)

    def check(self, attribute: Attribute) -> None:
        """Raises ValueError if one of the spans lacks it."""
        for name in self.names:
            if attribute not in SPANS[name].attributes:
                raise ValueError(f"{name} has no {attribute}")

    @property
    def selector(self) -> str:
        """In braces. The service narrows it to this fleet: other programs may call a span ``trade`` too."""
        names = "|".join(self.names)
        services = "|".join(sorted({f"derivfleet-{SPANS[name].service}" for name in self.names}))
        parts = [_match("service_name", services), _match(SPAN, names)]
        if self.of_chosen_bots:
            self.check(Attribute.BOT)
            parts.append(f'{label(Attribute.BOT)}=~"$bot"')
        parts += [f'{label(matcher.attribute)}{matcher.operator}"{matcher.value}"' for matcher in self.where]
        return "{" + ",".join(parts) + "}"


def per_second(spans: Spans, *by: Attribute | str) -> str:
    """How many end a second."""
    return f"{_sum(spans, by)} (rate({CALLS}{spans.selector}[{Window.MOMENT}]))"


def quantile(part: float, spans: Spans, *by: Attribute | str, window: Window = Window.MOMENT) -> str:
    """How long the given part of them took at most, in milliseconds, read off the histogram."""
    return f"histogram_quantile({part}, {_sum(spans, ('le', *by))} (rate({BUCKETS}{spans.selector}[{window}])))"


def counted(spans: Spans, *by: Attribute | str) -> str:
    """How many ended within the range.

    ``increase`` alone would miss the first of each kind: a series begins with it, so there is nothing to compare with.
    For refusals the first one is the one that matters. So a series that the range's beginning did not have counts with
    its whole value.
    """
    series = f"{CALLS}{spans.selector}"
    before = f"{series} offset {Window.RANGE}"
    return f"{_sum(spans, by)} (increase({series}[{Window.RANGE}]) and {before} or {series} unless {before})"


def anew(spans: Spans, *by: Attribute | str) -> str:
    """How many ended since the curve's last point; counts the first of each kind, as :func:`counted` does."""
    now = f"{_sum(spans, by)} ({CALLS}{spans.selector})"
    before = f"{_sum(spans, by)} ({CALLS}{spans.selector} offset {Window.STEP})"
    # Where a counter began again the difference is negative, and says nothing.
    return f"clamp_min({now} - ({before} or 0 * {now}), 0)"


def share(part: Spans, whole: Spans) -> str:
    """Which part of all ended like that within the range, 0 to 1; 0 if none did."""
    return f"({counted(part)} or vector(0)) / {counted(whole)}"


def _match(name: str, values: str) -> str:
    # A dot is a dot in an exact match. In a pattern it is any character, and no two spans differ in that alone.
    return f'{name}=~"{values}"' if "|" in values else f'{name}="{values}"'


def _sum(spans: Spans, by: Iterable[Attribute | str]) -> str:
    labels: list[str] = []
    for name in by:
        if isinstance(name, Attribute):
            spans.check(name)
            labels.append(label(name))
        else:
            labels.append(name)
    return f"sum by ({', '.join(labels)})" if labels else "sum"
