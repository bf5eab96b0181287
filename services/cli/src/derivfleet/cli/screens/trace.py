"""A trace as a tree: a line about the order, then a line a span. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.v1 import reports_pb2

__all__ = ["trace_lines"]

NS_PER_MS = 1_000_000
_PREFIX, _SERVICE = "derivfleet.", "derivfleet-"
_SAME_EVERYWHERE = ("account", "order_id")
"""Attributes that the line above the tree says."""


def trace_lines(found: reports_pb2.Trace) -> list[Text]:
    """A trace for people: a line about the order, then a line a span, roots at the margin."""
    children: dict[str, list[reports_pb2.Span]] = {}
    known = {span.span_id for span in found.spans}
    for span in found.spans:
        children.setdefault(span.parent_span_id if span.parent_span_id in known else "", []).append(span)
    branches = [(branch, span) for root in children.get("", ()) for branch, span in _branches(root, children)]
    began_ns = min((span.start_ns for span in found.spans), default=0)
    cells = [
        (
            span.name,
            f"+{(span.start_ns - began_ns) / NS_PER_MS:.1f}",
            f"{(span.end_ns - span.start_ns) / NS_PER_MS:.1f} ms",
            span.service.removeprefix(_SERVICE),
        )
        for _, span in branches
    ]
    names = max((len(branch) + len(span.name) for branch, span in branches), default=0)
    starts, times, services = (max((len(row[column]) for row in cells), default=0) for column in (1, 2, 3))
    head = Text.assemble(("order ", "dim"), (found.order_id, "bold"), (f" on {found.account}", "dim"))
    if not found.complete:
        head.append(", spans are missing", style="yellow")
    lines = [head]
    said: dict[str, dict[str, str]] = {}
    for (branch, span), (name, start, time, service) in zip(branches, cells, strict=True):
        above = said.get(span.parent_span_id, dict.fromkeys(_SAME_EVERYWHERE, ""))
        facts = {name.removeprefix(_PREFIX): value for name, value in sorted(span.attributes.items())}
        said[span.span_id] = above | facts
        line = Text.assemble((branch, "dim"), name.ljust(names - len(branch)))
        line.append(f"  {start:>{starts}}", style="dim")
        line.append(f"  {time:>{times}}", style="cyan")
        line.append(f"  {service:<{services}}", style="dim")
        line.append("".join(f"  {key} {value}" for key, value in facts.items() if _is_news(key, value, above)))
        if span.error_code:
            line.append(f"  error {span.error_code}", style="red")
        line.rstrip()
        lines.append(line)
    return lines


def _is_news(name: str, value: str, above: dict[str, str]) -> bool:
    return name not in _SAME_EVERYWHERE and name != "error_code" and above.get(name) != value


def _branches(
    span: reports_pb2.Span, children: dict[str, list[reports_pb2.Span]], lead: str = "", tail: str = ""
) -> Sequence[tuple[str, reports_pb2.Span]]:
    """A span and all below it, each with what is drawn before its name."""
    found = [(lead, span)]
    below = children.get(span.span_id, [])
    for child in below:
        is_last = child is below[-1]
        found += _branches(child, children, tail + ("└─ " if is_last else "├─ "), tail + ("   " if is_last else "│  "))
    return found
