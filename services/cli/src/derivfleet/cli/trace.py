"""``derivfleet trace``: where the time of one trade went, as a tree."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.text import Text

from derivfleet.cli.client import OPERATOR, ReportsClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.v1 import reports_pb2

__all__ = ["lines_of", "trace"]

NS_PER_MS = 1_000_000
_PREFIX, _SERVICE = "derivfleet.", "derivfleet-"
_SAME_EVERYWHERE = ("account", "order_id")
"""Attributes that the line above the tree says."""


def trace(
    order_id: Annotated[
        str,
        typer.Argument(metavar="[ORDER_ID]", help="As `derivfleet orders` shows it; the newest settled one if none."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """Show one trade as a tree of spans, from the bot's decision to the settlement.

    One line a span: when it began after the first one, how long it took,
    whose it is, and what it says that no span above it has said.
    What each span measures is in docs/telemetry.md.

    For example:

      derivfleet trace                                  the newest settled order

      derivfleet trace over-4:1HZ100V:1795257874:0      this one

      derivfleet trace --json | jq '.spans[].name'
    """
    folder = RunDir(run_dir)
    run = folder.running()

    async def ask() -> reports_pb2.Trace:
        async with ReportsClient(run.metrics, folder.token(OPERATOR)) as client:
            return await client.trace(order_id)

    found = asyncio.run(ask())
    if json:
        typer.echo(MessageToJson(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return
    console = open_console()
    for line in lines_of(found):
        # Whoever reads a pipe cuts for themselves; a terminal would break the tree.
        console.print(line, no_wrap=True, overflow="ellipsis" if console.is_terminal else "ignore", crop=False)


def lines_of(found: reports_pb2.Trace) -> list[Text]:
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
