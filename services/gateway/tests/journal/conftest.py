"""Journals in both databases, each test with one of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from bench.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Place = Callable[[], str]


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with Postgres(durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def database(server: Postgres) -> Callable[[], str]:
    """Make an empty database; its address."""
    numbers = itertools.count()
    return lambda: server.create(f"journal_{next(numbers)}")


@pytest.fixture(params=["sqlite", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Make a place for a journal that is not there yet."""
    if request.param == "postgres":
        return request.getfixturevalue("database")
    numbers = itertools.count()
    return lambda: str(tmp_path / f"deep{next(numbers)}" / "journal.sqlite")


@pytest.fixture
def place(new_place: Place) -> str:
    return new_place()
