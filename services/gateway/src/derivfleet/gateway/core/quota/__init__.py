"""The quota of one account: who makes the next call, within Deriv's limits and each bot's share.

The only door is ``Quota``; whoever stands outside imports from this package and from none of its rooms. A bot asks and
gets a ``Permit`` or a ``PermitDenied``. ``quota`` keeps the queues' books, ``bucket`` is one class of calls: its
``windows`` (with their ``call_log``, the ``exit_reserve`` and the ``pacing``) and the bots' ``shares`` (with an
``indexed_heap``). ``write_ahead`` sees to it that a crash forgets no call.
"""

from __future__ import annotations

from derivfleet.gateway.core.quota.call_log import DRIFT
from derivfleet.gateway.core.quota.permits import Forecast, Permit, PermitDenied, PermitState, Rank, ShareUse
from derivfleet.gateway.core.quota.quota import GATEWAY, Quota
from derivfleet.gateway.core.quota.windows import WindowUse
from derivfleet.gateway.core.quota.write_ahead import Block

__all__ = [
    "DRIFT",
    "GATEWAY",
    "Block",
    "Forecast",
    "Permit",
    "PermitDenied",
    "PermitState",
    "Quota",
    "Rank",
    "ShareUse",
    "WindowUse",
]
