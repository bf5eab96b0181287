"""``python -m bench.orders.null_journal``: the gateway with a journal that writes nothing down."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from derivfleet.common.service import run_service
from derivfleet.gateway.__main__ import serve
from derivfleet.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from derivfleet.gateway.journal.store import Row, Step

OPENINGS = 1


class NullStore:
    """A database that is always empty."""

    int_type = "INTEGER"
    key_type = "INTEGER PRIMARY KEY"
    place = "nowhere"
    is_connected = True

    def version(self) -> int:
        return 0

    def set_version(self, version: int) -> Step:
        return f"-- {version}", ()

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        del parameters
        if sql.startswith("SELECT epoch"):
            return [(OPENINGS,)]
        return [(0,)] if "max(position)" in sql else []

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        """Forget them."""

    def reconnect(self) -> None:
        """It is never away."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _store(where: str, key: str, password: str) -> NullStore:
    del where, key, password
    return NullStore()


if __name__ == "__main__":
    sys.exit(run_service("gateway", GatewaySettings, partial(serve, open_store=_store)))
