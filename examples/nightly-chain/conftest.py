"""The test kit's fixture, and this configuration with it."""

from pathlib import Path

import pytest

from buildwright.testing.plugin import rehearse

__all__ = ["rehearse"]

HERE = Path(__file__).parent


@pytest.fixture
def chain(rehearse, tmp_path):
    """Begins a rehearsal of the chain: ``chain(at="2026-03-02 12:00")``."""

    def begin(**options):
        (tmp_path / "secrets").mkdir(exist_ok=True)  # a machine's own, which isn't in the repository
        return rehearse(HERE / "master.cfg", basedir=tmp_path, **options)

    return begin
