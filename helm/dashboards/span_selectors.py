"""Which spans stand for what: a trade, a call to the gateway, a wait, a call to Deriv, and how each fails."""

from __future__ import annotations

from derivfleet.common.spans import Attribute, SpanName
from helm.dashboards.promql import GATEWAY_CALLS, Matcher, Spans

__all__ = [
    "ADMISSIONS_REFUSED",
    "DEADLINE_MS",
    "DECISIONS",
    "DERIV_CALLS",
    "DERIV_ERRORS",
    "GATEWAY",
    "GATEWAY_ERRORS",
    "PURCHASES",
    "RATE_REFUSED",
    "SETTLED",
    "SETTLEMENTS",
    "TICK_MS",
    "TRADES",
    "WAITS",
]

TICK_MS, DEADLINE_MS = 1_000.0, 5_000.0
"""The fastest markets tick once a second; a bot gives a purchase five seconds."""

_FAILED = Matcher(Attribute.ERROR_CODE, "!=", "")

TRADES = Spans((SpanName.TRADE,))
DECISIONS = Spans((SpanName.DECIDE,))
PURCHASES = Spans((SpanName.BUY,))
SETTLEMENTS = Spans((SpanName.SETTLE,))
SETTLED = Spans((SpanName.SETTLE,), (Matcher(Attribute.STATE, "=", "settled"),))
"""An order that the account's records deny ends its span too, in another state."""

GATEWAY = Spans(GATEWAY_CALLS)
GATEWAY_ERRORS = Spans(GATEWAY_CALLS, (_FAILED,))

WAITS = Spans((SpanName.QUOTA_WAIT,))
ADMISSIONS_REFUSED = Spans(GATEWAY_CALLS, (Matcher(Attribute.ERROR_CODE, "=~", "LIMIT_REACHED|TURN_REFUSED"),))
"""A purchase that is not admitted is an order that the limit denied; any other call is refused as TURN_REFUSED."""

DERIV_CALLS = Spans((SpanName.DERIV_CALL,))
DERIV_ERRORS = Spans((SpanName.DERIV_CALL,), (_FAILED,))
RATE_REFUSED = Spans((SpanName.DERIV_CALL,), (Matcher(Attribute.RATE_REFUSED, "=", "true"),))
