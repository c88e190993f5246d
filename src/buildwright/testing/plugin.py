"""The fixture for pytest: put ``from buildwright.testing.plugin import rehearse`` into a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from buildwright.testing.rehearsal import Rehearsal


@pytest.fixture
def rehearse() -> Iterator[Callable[..., Rehearsal]]:
    """Makes rehearsals that end with the test: ``ci = rehearse("master.cfg", at="2026-03-02 12:00")``."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Rehearsal(*args, **kwargs))
