"""The keys that say what is kept: `retention`, Buildbot's `changeHorizon`, and its janitor."""

import pytest

from tests.config.support import WHOLE, Site

IMPORT = "\nfrom datetime import timedelta\nfrom buildwright.plugins import util\n"


def test_nothing_said_keeps_the_logs_of_a_year(site: Site) -> None:
    kept = site.load(WHOLE).retention
    assert (kept.logs, kept.builds, kept.max_changes, kept.keep) == (365 * 86_400_000_000, None, None, 10)


def test_a_rule_and_the_change_horizon(site: Site) -> None:
    rule = "c['retention'] = util.Retention(builds=timedelta(days=3))\n"
    kept = site.load(WHOLE + IMPORT + rule + "c['changeHorizon'] = 200\n").retention
    assert (kept.builds, kept.logs, kept.max_changes) == (3 * 86_400_000_000, None, 200)
    assert site.load(WHOLE + "\nc['changeHorizon'] = 7\n").retention.max_changes == 7
    assert site.load(WHOLE + "\nc['changeHorizon'] = None\n").retention.max_changes is None


def test_a_janitor_is_a_rule(site: Site) -> None:
    janitor = "util.JanitorConfigurator(logHorizon=timedelta(weeks=4), hour=12, dayOfWeek='sun')"
    kept = site.load(f"{WHOLE}{IMPORT}c['configurators'] = [{janitor}]\n").retention
    assert (kept.logs, kept.keep, kept.keep_good) == (28 * 86_400_000_000, 0, False)
    assert kept.times is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c['retention'] = 3", "c['retention'] must be a util.Retention, not int 3"),
        ("c['changeHorizon'] = 'all'", "c['changeHorizon'] must be a number or None"),
        ("c['changeHorizon'] = -1", "c['changeHorizon'] must not be negative"),
        (
            "c['changeHorizon'] = 5\nc['retention'] = util.Retention(max_changes=4)",
            "both c['changeHorizon'] and the max_changes of c['retention'] are given",
        ),
        (
            "c['retention'] = util.Retention(keep=-1, logs='90')",
            "Retention: keep must not be negative, and is -1",
        ),
        (
            "c['configurators'] = [util.JanitorConfigurator()]\nc['retention'] = util.Retention()",
            "there is a JanitorConfigurator and a c['retention']",
        ),
        ("c['configurators'] = [util.JanitorConfigurator(hour='never')]", "never"),
    ],
)
def test_what_is_wrong_is_said_at_its_line(text: str, said: str, site: Site) -> None:
    first = (WHOLE + IMPORT).count("\n") + 1
    refused = site.refused(WHOLE + IMPORT + text + "\n")
    assert any(said in line for line in refused), refused
    places = [f"master.cfg:{first + at}: " for at in range(text.count("\n") + 1)]
    assert all(line.startswith(tuple(places)) for line in refused), refused
