from __future__ import annotations

from fuzz_otlp import fuzz


def test_no_payload_brings_the_reader_down() -> None:
    unreadable, kept, refused = fuzz(4_000, seed=11)
    assert unreadable > 300
    assert kept > 500
    assert refused > 500
