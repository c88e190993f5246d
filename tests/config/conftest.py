"""Fixtures of the configuration's tests."""

from pathlib import Path

import pytest

from tests.config.support import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
