"""What the two programs have in common as processes: how they are told what to do, and how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation at run time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SecretStr  # noqa: TC002 - as above

from derivfleet.common.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

__all__ = ["ProgramSettings", "run_until"]


class ProgramSettings(ServiceSettings):
    """``DERIVFLEET_BENCH_…``."""

    env_prefix: ClassVar[str] = "DERIVFLEET_BENCH_"

    url: str
    """Of the REST API."""
    account: str
    """Whose sockets are asked for."""
    app_id: str
    token: SecretStr
    fleet: Path
    notes: Path
    """The file to write them to."""


async def run_until(stop: asyncio.Event, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do work that never ends until told to stop. Raises what one of them raised."""
    tasks = [asyncio.create_task(one) for one in work]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.wait((*tasks, stopping))
