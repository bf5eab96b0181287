"""Packages that a library would use if it found them."""

from __future__ import annotations

import colorsys
import sys
from importlib import import_module

import pytest

from derivfleet.common.optional_packages import without


def test_within_the_block_they_are_not_there_and_after_it_they_are() -> None:
    with without("colorsys", "no_such_package"), pytest.raises(ImportError):
        import_module("colorsys")
    assert sys.modules["colorsys"] is colorsys
    assert "no_such_package" not in sys.modules


def test_an_error_in_the_block_brings_them_back_too() -> None:
    with pytest.raises(RuntimeError), without("colorsys"):
        raise RuntimeError
    assert sys.modules["colorsys"] is colorsys
