"""One order's spans, put in order, and whether any is missing. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.common.spans import Attribute, SpanName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.metrics.records.span import SpanRecord

__all__ = ["NEEDED", "OrderTrace", "attributes_of", "trace_of"]

NEEDED = frozenset(
    {
        SpanName.TRADE,
        SpanName.DECIDE,
        SpanName.BUY,
        SpanName.FOLLOW,
        SpanName.GATEWAY_BUY,
        SpanName.QUOTA_WAIT,
        SpanName.DERIV_CALL,
        SpanName.SETTLE,
    }
)
"""What an order leaves behind that was decided by a bot, bought at Deriv and followed to its settlement."""


@dataclass(frozen=True, slots=True)
class OrderTrace:
    """The spans that tell of one order, a parent before its children, the earlier before the later."""

    account: str
    order_id: str
    spans: tuple[SpanRecord, ...]

    @property
    def is_complete(self) -> bool:
        """No span of :data:`NEEDED` is missing, and no span's parent is."""
        known = {(span.trace_id, span.span_id) for span in self.spans}
        whole = all((span.trace_id, span.parent_id) in known for span in self.spans if span.parent_id)
        return whole and {span.name for span in self.spans} >= NEEDED


def trace_of(account: str, order_id: str, spans: Iterable[SpanRecord]) -> OrderTrace:
    """Put the spans in order. One whose parent is missing stands where a root would."""
    found = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns, span.span_id))
    known = {(span.trace_id, span.span_id) for span in found}
    below: dict[tuple[str, str], list[SpanRecord]] = {}
    for span in found:
        parent = (span.trace_id, span.parent_id)
        below.setdefault(parent if parent in known else ("", ""), []).append(span)
    ordered: list[SpanRecord] = []
    waiting = below.get(("", ""), [])[::-1]
    while waiting:
        span = waiting.pop()
        ordered.append(span)
        waiting += below.get((span.trace_id, span.span_id), [])[::-1]
    return OrderTrace(account, order_id, tuple(ordered))


def attributes_of(span: SpanRecord) -> dict[str, str]:
    """All attributes of a span as text, by their full names; the error code stands apart."""
    apart = {
        Attribute.ACCOUNT: span.account,
        Attribute.BOT: span.bot,
        Attribute.ORDER_ID: span.order_id,
        Attribute.CALL: span.call,
        Attribute.BUCKET: span.bucket,
        Attribute.STATE: span.state,
        Attribute.RATE_REFUSED: "true" if span.rate_refused else "",
    }
    kept: dict[str, object] = json.loads(span.attributes)
    rest = {name: value if isinstance(value, str) else json.dumps(value) for name, value in kept.items()}
    return {str(name): value for name, value in apart.items() if value} | rest
