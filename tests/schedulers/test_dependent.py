"""Decisions of the Dependent scheduler."""

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import CANCELLED, EXCEPTION, FAILURE, SKIPPED, SUCCESS, WARNINGS
from buildwright.schedulers.basic import AnyBranchScheduler
from buildwright.schedulers.decisions import Inbox, Upstream
from buildwright.schedulers.dependent import Dependent

UPSTREAM = AnyBranchScheduler("up", ["b"])


@pytest.mark.parametrize(
    ("results", "fires"),
    [
        (SUCCESS, True),
        (WARNINGS, True),
        (FAILURE, False),
        (SKIPPED, False),
        (EXCEPTION, False),
        (CANCELLED, False),
    ],
)
def test_it_follows_success(results: int, fires: bool) -> None:
    scheduler = Dependent("down", UPSTREAM, ["b"])
    verdict = scheduler.decide(Inbox(upstream=[Upstream(7, results, (1, 2), (3,))]), {}, 0)
    assert [(fire.cause, fire.reason, fire.stamps, fire.changeids) for fire in verdict.fires] == (
        [("buildset:7", "downstream", (1, 2), (3,))] if fires else []
    )
    assert len(verdict.skips) == (not fires)
    assert verdict.used_upstream == {7}
    assert scheduler.wishes.upstreams == ("up",)


def test_while_disabled_it_lets_them_pass() -> None:
    verdict = Dependent("down", UPSTREAM, ["b"]).decide(
        Inbox(upstream=[Upstream(7, SUCCESS, (1,), ())]), {}, 0, enabled=False
    )
    assert not verdict.fires
    assert [(skip.cause, skip.outcome) for skip in verdict.skips] == [("buildset:7", "skipped: disabled")]


def test_a_name_is_no_upstream() -> None:
    with pytest.raises(ConfigErrors, match="upstream must be a scheduler, not str 'up'"):
        Dependent("down", "up", ["b"])
