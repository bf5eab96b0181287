"""What is served to Prometheus, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.prometheus import CONTENT_TYPE, counter, gauge, scraped, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def test_each_scrape_is_told_anew_in_the_loop_of_the_service() -> None:
    asked: list[threading.Thread] = []

    def tell() -> Iterator[Metric]:
        asked.append(threading.current_thread())
        yield counter("calls", "calls", ("call",), {("buy",): len(asked)})
        yield gauge("waiting", 'a "word"\n of', ("bot",), {('o"ne\\',): 7})

    async with scraped("127.0.0.1:0", "KEY", tell) as port:
        first = await asyncio.to_thread(scrape, port)
        second = await asyncio.to_thread(scrape, port)
    assert [told["derivfleet_calls_total", "buy"] for told in (first, second)] == [1, 2]
    assert second["derivfleet_waiting", 'o"ne\\'] == 7
    assert second["process_resident_memory_bytes",] > 1e6
    assert set(asked) == {threading.current_thread()}
    with pytest.raises(URLError):
        await asyncio.to_thread(scrape, port)


async def test_an_address_in_use_is_told_with_its_key_and_none_serves_nothing() -> None:
    async with scraped("127.0.0.1:0", "KEY", tuple) as port:
        with pytest.raises(ConfigurationError, match="cannot listen") as caught:
            async with scraped(f"127.0.0.1:{port}", "KEY", tuple):
                pass
    assert caught.value.key == "KEY"
    async with scraped("", "KEY", tuple) as port:
        assert port == 0


def test_a_service_with_a_server_of_its_own_takes_the_text() -> None:
    text = text_of(lambda: [gauge("sockets", "open ones", (), {(): 3})])
    assert b"\nderivfleet_sockets 3.0\n" in text


def test_the_format_is_called_as_the_library_calls_it() -> None:
    assert CONTENT_TYPE == CONTENT_TYPE_PLAIN_0_0_4
