# ruff: noqa: INP001 - helm carries this file into a pod; it belongs to no package
"""What `helm test` asks: do both servers serve, do they know the operator, has a trade settled and been reported?"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from derivfleet.cli.clients import ControlClient, ReportsClient, is_serving
from derivfleet.cli.errors import CommandError
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.v1 import orders_pb2

PATIENCE_S = 120.0
ASK_EVERY_S = 1.0


def say(line: str) -> None:
    """A line for `helm test --logs`."""
    sys.stdout.write(f"{line}\n")


async def prove(gateway: str, metrics: str, token: Path) -> None:
    """Return when all is proven; raises TimeoutError, CommandError or ConfigurationError if it is not."""
    clock = FleetClock()
    async with clock.timeout(PATIENCE_S):
        for name, address in (("gateway", gateway), ("metrics service", metrics)):
            while not await is_serving(address):
                await clock.sleep(ASK_EVERY_S)
            say(f"the {name} serves at {address}")
        async with ControlClient(gateway, token) as control:
            while not (settled := await control.orders(limit=1, state=orders_pb2.ORDER_STATE_SETTLED)):
                await clock.sleep(ASK_EVERY_S)
        order = settled[0]
        say(f"order {order.order_id} of {order.bot} has settled with a profit of {order.profit}")
        async with ReportsClient(metrics, token) as reports:
            while not (await reports.report(at_epoch_s=order.settled_time_ns // 10**9)).fleet.settled:
                await clock.sleep(ASK_EVERY_S)
        say("the report knows of it")


def main() -> int:
    """Run with the addresses of gateway and metrics service and the path of the operator's token."""
    gateway, metrics, token = sys.argv[1:]
    try:
        asyncio.run(prove(gateway, metrics, Path(token)))
    except TimeoutError:
        say(f"that was all within {PATIENCE_S:g} s; look at the logs of the gateway and of a bot")
        return 1
    except (CommandError, ConfigurationError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
