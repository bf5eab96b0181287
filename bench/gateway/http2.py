"""The least of HTTP/2 that opens gRPC calls and reads what comes.

A thousand connections in one process have to cost the reader next to nothing, or it would measure itself: a client of
grpc.aio needs longer to take a tick than the gateway to send it. Requests are written without compression state;
headers of answers are not read, only where a stream ends.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Link"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
HEAD = 9
POST, SCHEME_HTTP = b"\x83", b"\x86"  # entries of HPACK's static table
SHORT = 127
REFILL_BYTES = 32_768
"""How much is read before the server is told that it may send more."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def _text(text: bytes) -> bytes:
    """An HPACK string without Huffman coding."""
    length = len(text)
    if length < SHORT:
        return bytes((length,)) + text
    rest = length - SHORT
    prefix = bytearray((SHORT,))
    while rest >= 128:  # noqa: PLR2004 - seven bits a byte
        prefix.append(rest % 128 + 128)
        rest //= 128
    prefix.append(rest)
    return bytes(prefix) + text


class Link:
    """One connection. ``read`` takes what has arrived; calls are opened with :meth:`open`."""

    def __init__(self, port: int, metadata: Mapping[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))
        self.socket.setblocking(False)
        self._buffer = b""
        self._next_stream = 1
        self._unacknowledged = 0
        self._headers = {
            ":authority": f"127.0.0.1:{port}",
            "te": "trailers",
            "content-type": "application/grpc",
            **metadata,
        }
        self.ended: list[int] = []
        """Streams that the server has ended."""

    def open(self, path: str, message: bytes) -> int:
        """Begin a call with its only request; returns its stream."""
        stream = self._next_stream
        self._next_stream += 2
        pairs = {":path": path, **self._headers}
        block = POST + SCHEME_HTTP
        for name, value in pairs.items():
            block += b"\0" + _text(name.encode()) + _text(value.encode())
        body = b"\0" + struct.pack("!I", len(message)) + message
        self.socket.send(_frame(HEADERS, END_HEADERS, stream, block) + _frame(DATA, END_STREAM, stream, body))
        return stream

    def read(self) -> Iterator[tuple[int, bytes]]:
        """What has arrived: the stream and the message of each frame of data. Raises ConnectionError at the end."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while len(buffer) - at >= HEAD:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < HEAD + length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + HEAD], "big")
            payload = buffer[at + HEAD : at + HEAD + length]
            at += HEAD + length
            if kind == DATA and length:
                self._refill(stream, length)
                yield stream, payload[5:]  # a gRPC message is sent in one frame, after five bytes of its length
            elif (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
                self.ended.append(stream)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.socket.send(_frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == GOAWAY:
                raise ConnectionError("the server goes away")
        self._buffer = buffer[at:]

    def _refill(self, stream: int, length: int) -> None:
        self._unacknowledged += length
        if self._unacknowledged >= REFILL_BYTES:
            more = struct.pack("!I", self._unacknowledged)
            self.socket.send(_frame(WINDOW_UPDATE, 0, 0, more) + _frame(WINDOW_UPDATE, 0, stream, more))
            self._unacknowledged = 0

    def close(self) -> None:
        self.socket.close()
