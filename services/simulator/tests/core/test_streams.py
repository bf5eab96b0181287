"""Streams of one socket: no two about the same, not too many, ids that can be told in advance."""

from __future__ import annotations

import uuid

import pytest

from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.limits import StreamCaps
from derivfleet.deriv.vocabulary import Call, StreamType
from derivfleet.simulator.core.streams import Streams, derived_uuid


def test_ids_are_uuids_that_follow_from_the_seed() -> None:
    ids: list[list[str]] = []
    for seed in ("1/stream/1", "1/stream/1", "1/stream/2"):
        streams = Streams(seed, StreamCaps())
        opened = [streams.open(Call.TICKS, ("ticks", n), StreamType.TICKS, {}) for n in range(3)]
        ids.append([stream.id for stream in opened])
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])
    for text in ids[0]:
        assert str(uuid.UUID(text)) == text
    assert derived_uuid("a", 1) != derived_uuid("a", 2)


def test_a_second_stream_about_the_same_is_refused_and_the_first_goes_on() -> None:
    streams = Streams("1", StreamCaps())
    first = streams.open(Call.TICKS, ("ticks", "R_10"), StreamType.TICKS, {})
    with pytest.raises(RequestRefused) as caught:
        streams.open(Call.TICKS, ("ticks", "R_10"), StreamType.TICKS, {})
    assert caught.value.code == "AlreadySubscribed"
    assert streams.get(("ticks", "R_10")) is first


def test_a_forgotten_stream_makes_room() -> None:
    streams = Streams("1", StreamCaps(per_connection=1))
    first = streams.open(Call.TICKS, ("ticks", 1), StreamType.TICKS, {})
    with pytest.raises(RequestRefused) as caught:
        streams.open(Call.TICKS, ("ticks", 2), StreamType.TICKS, {})
    assert caught.value.code == "RateLimit"
    assert streams.forget(first.id)
    assert not streams.forget(first.id)
    streams.close(first)
    streams.open(Call.TICKS, ("ticks", 1), StreamType.TICKS, {})
    assert len(streams) == 1


def test_proposals_have_a_cap_of_their_own() -> None:
    streams = Streams("1", StreamCaps(proposals_per_connection=2))
    for n in range(2):
        streams.open(Call.PROPOSAL, ("proposal", n), StreamType.PROPOSAL, {})
    with pytest.raises(RequestRefused):
        streams.open(Call.PROPOSAL, ("proposal", 3), StreamType.PROPOSAL, {})
    streams.open(Call.TICKS, ("ticks", 1), StreamType.TICKS, {})


def test_forget_all_ends_only_what_it_names() -> None:
    streams = Streams("1", StreamCaps())
    tick = streams.open(Call.TICKS, ("ticks", 1), StreamType.TICKS, {})
    balance = streams.open(Call.BALANCE, ("balance",), StreamType.BALANCE, {})
    assert streams.forget_all([StreamType.TICKS]) == [tick.id]
    assert [stream.id for stream in streams] == [balance.id]
    assert streams.forget_all() == [balance.id]
