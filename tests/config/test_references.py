"""What the parts of a configuration must be to each other."""

import pytest

from tests.config.support import WHOLE, Site

MORE = """
def builder(name, **given):
    return util.BuilderConfig(name=name, workernames=['w1'], factory=util.BuildFactory(), **given)
def drive(name, *builders):
    c['schedulers'].append(schedulers.SingleBranchScheduler(name, builderNames=list(builders), branch=name))
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "c['workers'] += [worker.Worker('w1', 'x')]",
            "13: there are two workers named 'w1' (the first is at master.cfg:4)",
        ),
        (
            "c['builders'] += [builder('b1')]",
            "10: there are two builders named 'b1' (the first is at master.cfg:5)",
        ),
        ("drive('s1', 'b1')", "12: there are two schedulers named 's1' (the first is at master.cfg:6)"),
        (
            "c['builders'] += [builder('a b'), builder('a/b')]; drive('x', 'a b', 'a/b')",
            "10: builders 'a b' and 'a/b' have the same builddir 'a_b' (give one of them another builddir)",
        ),
        (
            r"c['builders'] += [builder('b\0')]; drive('x', 'b\0')",
            r"10: builder 'b\x00': its name has a character that can't be stored (leave out NUL and bytes",
        ),
        (
            r"c['builders'][0].locks = [util.MasterLock('l\udcff').access('counting')]",
            r"5: lock 'l\udcff': its name has a character that can't be stored",
        ),
        ("c['builders'] += [builder('b2')]", "10: builder 'b2' is started by no scheduler"),
        ("drive('s2', 'b11')", "12: scheduler 's2' has the unknown builder 'b11' (did you mean 'b1'?)"),
        (
            "c['builders'] += [{'name': 'd', 'workername': 'w1', 'factori': 3}]",
            "5: builder 'd' has no argument 'factori'",
        ),
        ("c['workers'] = []", "5: builder 'b1' has the unknown worker 'w1' (add it to c['workers'])"),
        ("del c['www']", "4: worker 'w1' has nowhere to connect to"),
    ],
)
def test_mistakes(lines: str, said: str, site: Site) -> None:
    errors = site.refused(f"{WHOLE}{MORE}{lines}\n")
    assert [error for error in errors if error.startswith(f"master.cfg:{said}")], errors


def test_a_builder_may_be_a_dict(site: Site) -> None:
    snapshot = site.load(
        f"{WHOLE}{MORE}drive('x', 'd')\n"
        "c['builders'] += [{'name': 'd', 'workername': 'w1', 'factory': util.BuildFactory()}]\n"
    )
    assert snapshot.builders["d"].workernames == ["w1"]


def test_several_masters_share_the_parts(site: Site) -> None:
    snapshot = site.load(
        f"{WHOLE}c['multiMaster'] = True\nc['workers'] = []\nc['schedulers'] = []\n"
        "c['builders'][0].workernames = ['other']\n"
    )
    assert not snapshot.workers


def test_builders_that_are_named_when_a_scheduler_fires_count_as_driven(site: Site) -> None:
    site.load(
        f"{WHOLE}{MORE}c['builders'] += [builder('b2')]\n"
        "@util.renderer\n"
        "def some(props): return ['b2']\n"
        "c['schedulers'] += [schedulers.Triggerable('t', builderNames=some)]\n"
    )


def test_local_workers_need_no_port(site: Site) -> None:
    text = WHOLE.replace("worker.Worker('w1', 'secret')", "worker.LocalWorker('w1')").replace(
        "c['www']", "c['caches']"
    )
    assert site.load(text).workers["w1"].password is None


LOCKS = """
lock = util.MasterLock('shared', maxCount=2)
class Step(steps.BuildStep):
    pass
c['builders'][0].locks = [lock.access('counting')]
c['workers'][0].locks = [util.WorkerLock('disk').access('exclusive')]
"""


def test_locks_are_found_wherever_they_are_used(site: Site) -> None:
    snapshot = site.load(
        f"{WHOLE}{LOCKS}own = util.MasterLock('of step')\n"
        "c['builders'][0].factory.addStep(Step(locks=[own.access('exclusive')]))\n"
    )
    assert sorted(snapshot.locks) == ["disk", "of step", "shared"]
    assert snapshot.locks["shared"].maxCount == 2


def test_locks_of_one_name_are_the_same(site: Site) -> None:
    again = (
        "c['builders'][0].factory.addStep(Step(locks=[util.MasterLock('shared', {}).access('counting')]))\n"
    )
    site.load(WHOLE + LOCKS + again.format(2))
    assert site.refused(WHOLE + LOCKS + again.format(3)) == [
        (
            "master.cfg:14: there are two different locks named 'shared'"
            " (the other is used at master.cfg:5; use one lock in both places)"
        )
    ]
    assert site.refused(
        WHOLE + LOCKS + "c['workers'][0].locks.append(util.WorkerLock('shared').access('exclusive'))\n"
    )
