"""Ports: four from one base, and a line that names one in use."""

from __future__ import annotations

import socket

import pytest

from derivfleet.cli.run.ports import Ports, check_free
from derivfleet.common.errors import ConfigurationError


def test_a_base_gives_four_addresses() -> None:
    ports = Ports.from_base(17_000)
    addresses = (ports.metrics, ports.web, ports.gateway, ports.simulator)
    assert addresses == ("127.0.0.1:17000", "127.0.0.1:17080", "127.0.0.1:17100", "127.0.0.1:17200")


def test_a_port_in_use_is_named_with_its_service() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="the gateway cannot listen there") as raised:
            check_free([("gateway", f"127.0.0.1:{port}")])
    assert raised.value.key == f"port {port}"
    check_free([("gateway", f"127.0.0.1:{port}")])
