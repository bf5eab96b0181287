"""What Prometheus scrapes of a service: made anew for each scrape, out of what the service knows anyway.

Its library is imported where it is used: a process that nobody scrapes saves a megabyte.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import get_logger
from derivfleet.common.settings import split_address

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    Values = Mapping[tuple[str, ...], float]

__all__ = ["CONTENT_TYPE", "counter", "gauge", "scraped", "text_of"]

_log = get_logger()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format that Prometheus reads."""
ANSWER_TIMEOUT_WALL_S = 5.0
"""How long a scrape waits for a service that is busy."""


def counter(name: str, words: str, labels: Sequence[str], values: Values) -> Metric:
    """What has been counted since the start, by the values of its labels: ``derivfleet_…_total``."""
    from prometheus_client.metrics_core import CounterMetricFamily  # noqa: PLC0415 - see above

    family = CounterMetricFamily(f"derivfleet_{name}", words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, words: str, labels: Sequence[str], values: Values) -> Metric:
    """What is so now, by the values of its labels: ``derivfleet_…``."""
    from prometheus_client.metrics_core import GaugeMetricFamily  # noqa: PLC0415 - see above

    family = GaugeMetricFamily(f"derivfleet_{name}", words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


@dataclass(frozen=True, slots=True)
class _Told:
    """A collector, as the library calls what it collects metrics from."""

    tell: Callable[[], Iterable[Metric]]

    def collect(self) -> Iterable[Metric]:
        return self.tell()


def _registry(tell: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - see above

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Told(tell))
    return registry


def text_of(tell: Callable[[], Iterable[Metric]]) -> bytes:
    """What ``tell`` tells, and the process's own figures, in Prometheus's text format."""
    from prometheus_client import generate_latest  # noqa: PLC0415 - see above

    return generate_latest(_registry(tell))


@asynccontextmanager
async def scraped(address: str, key: str, tell: Callable[[], Iterable[Metric]]) -> AsyncGenerator[int, None]:
    """Serve ``/metrics`` at host:port until the block ends; gives the port. An empty address serves nothing (0).

    ``tell`` runs in the caller's event loop. Raises ConfigurationError naming ``key`` if the address is in use.
    """
    if not address:
        yield 0
        return
    from prometheus_client import start_http_server  # noqa: PLC0415 - see above

    loop = asyncio.get_running_loop()

    async def told() -> list[Metric]:
        return list(tell())

    # The server has threads of its own; what it tells belongs to the loop.
    def ask() -> list[Metric]:
        try:
            return asyncio.run_coroutine_threadsafe(told(), loop).result(ANSWER_TIMEOUT_WALL_S)
        except TimeoutError:
            _log.warning("too busy to tell Prometheus anything", waited_s=ANSWER_TIMEOUT_WALL_S)
            return []

    host, port = split_address(address)
    try:
        server, thread = start_http_server(port, host, _registry(ask))
    except OSError as error:
        problem = f"cannot listen on {address}: {error.strerror or 'is the port in use?'}"
        raise ConfigurationError(key, problem) from None
    _log.info("metrics served", port=server.server_port)
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join)
