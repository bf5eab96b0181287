"""An account's limits table: what Deriv publishes, with what the fleet file knows better."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from derivfleet.common.errors import ConfigurationError
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.limits import LEAST_CONNECTIONS, with_website_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.common.fleet import Account
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["table_as_told", "table_of"]


def table_of(name: Dialect, account: Account) -> LimitsTable:
    """The table that an account begins with.

    Raises ConfigurationError naming the key: a bucket that the dialect does not have, too few connections.
    """
    limits, key = account.limits, f"accounts.{account.key}.limits"
    table = dialect(name).limits
    buckets = dict(table.buckets)
    for bucket, windows in limits.windows.items():
        if bucket not in buckets:
            known = ", ".join(sorted(buckets))
            raise ConfigurationError(f"{key}.windows.{bucket}", f"unknown bucket; the {name} API has {known}")
        buckets[bucket] = replace(buckets[bucket], windows=MappingProxyType({**buckets[bucket].windows, **windows}))
    if 0 < limits.connections < LEAST_CONNECTIONS:
        problem = "is 1, but the gateway needs 2: one socket for orders and one for reads"
        raise ConfigurationError(f"{key}.connections", problem)
    return replace(
        table,
        buckets=MappingProxyType(buckets),
        streams=replace(table.streams, per_connection=limits.streams_per_connection or table.streams.per_connection),
        connections_per_user=limits.connections or table.connections_per_user,
    )


def table_as_told(table: LimitsTable, account: Account, told: Mapping[str, Mapping[str, Any]]) -> LimitsTable:
    """The table with what a legacy server says of itself; the fleet file can lower that, never raise it."""
    told_table = with_website_status(table, told)
    buckets = dict(told_table.buckets)
    for bucket, own in account.limits.windows.items():
        theirs = buckets[bucket].windows
        lowest = {length_s: min(calls, theirs.get(length_s, calls)) for length_s, calls in own.items()}
        buckets[bucket] = replace(buckets[bucket], windows=MappingProxyType({**theirs, **lowest}))
    return replace(told_table, buckets=MappingProxyType(buckets))
