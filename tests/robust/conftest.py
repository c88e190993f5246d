"""Fixtures of the tests of bad input and of faults."""

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def db_url(request: pytest.FixtureRequest) -> str:
    """An empty database for a master: the test runs once on each kind."""
    if request.param == "sqlite":
        return "sqlite:///state.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url
