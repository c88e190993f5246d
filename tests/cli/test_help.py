"""Help that teaches: every command says what it is for and shows examples."""

import pytest

from buildwright.cli.main import SUBCOMMANDS
from tests.cli.support import buildwright, succeeded


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_shows_examples(name: str) -> None:
    text = succeeded(name, "--help").out
    assert "Examples:\n" in text
    assert f"buildwright {name}" in text


def test_the_overview_leads_to_a_first_build() -> None:
    text = succeeded("--help").out
    for name in SUBCOMMANDS:
        assert f"  {name} " in text
    assert "buildwright init ci" in text


def test_a_command_that_is_none() -> None:
    done = buildwright("strat")
    assert done.code == 2
    assert "No such command 'strat'" in done.err
