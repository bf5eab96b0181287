"""``python -m tests.oracle``: a virtual week, judged to the cent (``--help`` tells what can be changed)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from .comparison import Comparison
from .delivery import Delivery
from .generator import Generator


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare every report of a virtual week with an independent oracle.")
    parser.add_argument(
        "--hours", type=int, default=169, help="how long it lasts (default: a week with 25 hours in a day)"
    )
    parser.add_argument("--orders", type=int, default=60, help="orders an hour, on average one and a half halves of it")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # Each late span changes reports, and each change is a line of the service's log: here they are wanted.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return asyncio.run(run(given.hours, given.orders, given.seed))


async def run(hours: int, orders: int, seed: int) -> int:
    console = Console()
    generator = Generator(seed, hours, orders)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as bar:
        delivery = Delivery(generator, Path(folder), seed)
        hours_done = bar.add_task("hours", total=hours + 40)
        service = await delivery.deliver(lambda hour: bar.update(hours_done, completed=hour))
        comparison = Comparison(generator, service)
        comparing = bar.add_task("reports", total=None)
        try:
            await comparison.compare(lambda done: bar.update(comparing, completed=done))
        except AssertionError as error:
            console.print(f"the oracle disagrees (seed {seed}): {error}")
            return 1
        await service.store.close()
    (made, lost) = generator.record.execute("SELECT COUNT(*), SUM(lost) FROM spans").fetchone()
    console.print(
        f"{comparison.reports} reports, {comparison.revised} of them revised, and {comparison.figures} figures "
        f"equal the oracle's: {made} spans made, {lost} lost, "
        f"{delivery.resent} sent again, {delivery.late} late, two restarts"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
