"""A gRPC channel as every client opens it: with keep-alive and quick reconnects."""

from __future__ import annotations

import grpc

__all__ = ["open_channel"]


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel to host:port that reconnects within a few seconds after the server was away."""
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.max_receive_message_length", 64 * 1024 * 1024),
        ],
    )
