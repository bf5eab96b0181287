"""What the processes of a fleet hold in memory though they do not use it: nothing that is large."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRAWS = {"greenlet", "pygments", "rich", "typer"}
"""What the command draws with. Libraries of the services would use it if they found it."""
READS = {"dotenv", "psutil", "pydantic_settings"}
SCRAPED = {"prometheus_client"}
"""Loaded by the first scrape."""


@pytest.mark.parametrize(
    ("service", "unused"),
    [
        ("bot", {*DRAWS, *READS, *SCRAPED, "aiohttp", "kubernetes", "opentelemetry.sdk.metrics", "yaml"}),
        ("gateway", {*DRAWS, *READS, *SCRAPED, "kubernetes", "opentelemetry.sdk.metrics", "yaml"}),
        ("metrics", {*DRAWS, *READS, *SCRAPED, "kubernetes", "opentelemetry.sdk.metrics", "yaml"}),
        ("simulator", {*DRAWS, *READS, *SCRAPED, "grpc", "kubernetes", "opentelemetry.sdk.metrics", "yaml"}),
    ],
)
def test_a_service_loads_nothing_large_that_it_does_not_use(service: str, unused: set[str]) -> None:
    code = f"import sys, derivfleet.{service}.__main__; print(*sys.modules)"
    loaded = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not unused.intersection(loaded)
