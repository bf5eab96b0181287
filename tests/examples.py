"""For all property tests: how long an example takes a busy machine says nothing about a law."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("derivfleet", deadline=None)
settings.load_profile("derivfleet")
