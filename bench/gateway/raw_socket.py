"""A socket straight to the simulator: frames written and read by hand, nothing checked or kept."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from bench.gateway.fleet_setup import APP_ID, TOKEN
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.deriv.requests import Request

__all__ = ["RawSocket", "socket_url"]

CONNECT_PATIENCE_S = 5.0


def socket_url(port: int) -> str:
    """Log in at a simulator; returns where to connect to."""
    base = f"http://127.0.0.1:{port}/trading/v1/options"
    headers = {"Authorization": f"Bearer {TOKEN}", "Deriv-App-ID": APP_ID}

    def fetch(path: str, method: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(base + path, headers=headers, method=method)) as answer:  # noqa: S310 - an address of ours
            return json.load(answer)["data"]

    account = fetch("/accounts", "GET")[0]["account_id"]
    return str(fetch(f"/accounts/{account}/otp", "POST")["url"])


class RawSocket:
    """One connection. ``read`` takes what has arrived."""

    def __init__(self, port: int) -> None:
        url = socket_url(port)
        self._codec = dialect(Dialect.OPTIONS)
        self._protocol = ClientProtocol(parse_uri(url))
        self._req_id = 0
        self.socket = socket.create_connection(("127.0.0.1", urlsplit(url).port), CONNECT_PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while not self._protocol.events_received():
            self._protocol.receive_data(self.socket.recv(65_536))
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        self.socket.setblocking(False)

    def send(self, request: Request) -> int:
        """Send a request; returns its number."""
        self._req_id += 1
        self._protocol.send_text(json.dumps(self._codec.encode_request(request, self._req_id)).encode())
        self._flush()
        return self._req_id

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What has arrived: the request's number and the frame. Raises ConnectionError at the end."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the simulator has closed the connection")
        self._protocol.receive_data(data)
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.data:
                frame: dict[str, Any] = json.loads(bytes(event.data))
                yield frame.get("req_id", 0), frame

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self.socket.sendall(data)
