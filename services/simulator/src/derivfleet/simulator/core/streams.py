"""The streams of one socket: their ids, what makes two of them the same, and how many there may be."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.vocabulary import StreamType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.limits import StreamCaps
    from derivfleet.deriv.vocabulary import Call

__all__ = ["Stream", "StreamKey", "Streams", "derived_uuid"]

StreamKey = tuple[object, ...]
"""What a stream is about. Two streams of one socket cannot be about the same."""


def derived_uuid(*parts: object) -> str:
    """A UUID that depends on its parts alone."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream. Its messages repeat the request that opened it."""

    id: str
    key: StreamKey
    type: StreamType
    echo: Frame


class Streams:
    """All streams of one socket."""

    def __init__(self, seed: str, caps: StreamCaps) -> None:
        """``seed`` makes the ids; it must differ from socket to socket."""
        self._seed = seed
        self._caps = caps
        self._opened = 0
        self._by_id: dict[str, Stream] = {}
        self._by_key: dict[StreamKey, Stream] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Stream]:
        return iter(tuple(self._by_id.values()))

    def get(self, key: StreamKey) -> Stream | None:
        """The stream that is about this, if there is one."""
        return self._by_key.get(key)

    def ensure_room(self, call: Call, stream_type: StreamType) -> None:
        """Raises RequestRefused (RateLimit; that code for this is assumed) if one more would be beyond the caps."""
        if len(self) >= self._caps.per_connection or self._too_many_proposals(stream_type):
            raise RequestRefused("RateLimit", f"You have reached the rate limit for {call} subscriptions.")

    def open(self, call: Call, key: StreamKey, stream_type: StreamType, echo: Frame, stream_id: str = "") -> Stream:
        """Open a stream.

        Raises RequestRefused: AlreadySubscribed if there is one about the same (which goes on), or RateLimit beyond
        the caps.
        """
        if key in self._by_key:
            raise RequestRefused("AlreadySubscribed", f"You are already subscribed to {call}.")
        self.ensure_room(call, stream_type)
        self._opened += 1
        stream = Stream(stream_id or derived_uuid(self._seed, self._opened), key, stream_type, echo)
        self._by_id[stream.id] = self._by_key[key] = stream
        return stream

    def _too_many_proposals(self, stream_type: StreamType) -> bool:
        most = self._caps.proposals_per_connection
        if stream_type is not StreamType.PROPOSAL or most is None:
            return False
        return sum(stream.type is StreamType.PROPOSAL for stream in self) >= most

    def close(self, stream: Stream) -> None:
        """End a stream; nothing happens if it has ended."""
        if self._by_id.pop(stream.id, None):
            del self._by_key[stream.key]

    def forget(self, stream_id: str) -> bool:
        """End a stream by its id; False if it is not known."""
        stream = self._by_id.get(stream_id)
        if stream:
            self.close(stream)
        return stream is not None

    def forget_all(self, types: Iterable[StreamType] = tuple(StreamType)) -> list[str]:
        """End all streams of some types and return their ids."""
        wanted = set(types)
        ended = [stream for stream in self if stream.type in wanted]
        for stream in ended:
            self.close(stream)
        return [stream.id for stream in ended]
