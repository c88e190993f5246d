"""A master that the tests of a module share, and one of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Master, master_in


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A running master; its tests leave it as it is, but for builds."""
    with master_in(tmp_path_factory.mktemp("shared") / "master") as master:
        yield master


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """A running master of the test's own."""
    with master_in(tmp_path / "master") as master:
        yield master


@pytest.fixture
def resting(tmp_path: Path) -> Iterator[Master]:
    """A master that the test may start."""
    with master_in(tmp_path / "master", start=False) as master:
        yield master
