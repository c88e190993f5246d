"""Everything that is wrong with a configuration is told at once, each with file, line and a hint."""

import pytest

from tests.config.support import WHOLE, Site


def test_five_mistakes_of_five_kinds(site: Site) -> None:
    site.write("broken.py", "def fine():\n    pass\n\ndef broken(:\n    pass\n")
    assert site.refused(
        """\
        from buildwright.plugins import schedulers, util, worker

        c = BuildmasterConfig = {}
        c['title'] = 3
        c['workers'] = [worker.Worker('worker-one', 'secret')]
        c['builder'] = []
        c['builders'] = [
            util.BuilderConfig(name='a', workernames=['worker-one'], factory=util.BuildFactory()),
            util.BuilderConfig(name='a', workernames=['worker-one'], factory=util.BuildFactory()),
            util.BuilderConfig(
                name='b',
                workernames=['worker-on'],
                factory=util.BuildFactory(),
            ),
        ]
        import broken
        """
    ) == [
        "master.cfg:4: c['title'] must be text, not int 3 (write it in quotes: '3')",
        "master.cfg:6: unknown key c['builder'] (did you mean 'builders'?)",
        "master.cfg:9: there are two builders named 'a' (the first is at master.cfg:8)",
        "master.cfg:10: builder 'b' has the unknown worker 'worker-on' (did you mean 'worker-one'?)",
        "broken.py:4: SyntaxError: invalid syntax: def broken(: (imported at master.cfg:16)",
    ]


def test_what_breaks_off_early_says_nothing_of_what_is_only_missing(site: Site) -> None:
    assert site.refused("c = BuildmasterConfig = {}\nc['title'] = 3\nraise ValueError('no network')\n") == [
        "master.cfg:2: c['title'] must be text, not int 3 (write it in quotes: '3')",
        "master.cfg:3: ValueError: no network",
    ]


def test_constructors_and_checks_report_together_in_the_order_of_the_file(site: Site) -> None:
    site.write(
        "parts.py",
        """\
        from buildwright.plugins import util, worker

        def workers():
            return [worker.Worker('1st', '')]
        """,
    )
    assert site.refused(
        """\
        from buildwright.plugins import util
        import parts
        c = BuildmasterConfig = {'workers': parts.workers(),
            'www': {'prot': 8010},
            'builders': [
                util.BuilderConfig(name='b', workernames=['1st'], factory=util.BuildFactory(
                    [util.Interpolate('%(prop)s')])),
            ]}
        """
    ) == [
        "master.cfg:4: unknown key c['www']['prot'] (did you mean 'port'?)",
        "master.cfg:6: addStep takes a step, not Interpolate",
        (
            "master.cfg:6: builder 'b' is started by no scheduler"
            " (name it in a scheduler's builderNames; a ForceScheduler will do)"
        ),
        "master.cfg:7: Interpolate: %(prop) names no selector (write %(prop:prop)s for a property)",
        (
            "parts.py:4: Worker: the name must consist of letters, digits, '_', '-' and '.'"
            " and not begin with a digit; this one is str '1st'"
        ),
        "parts.py:4: Worker '1st': a password is needed (text or a util.Secret, as the worker has it)",
        (
            "parts.py:4: worker '1st' has nowhere to connect to"
            " (give c['www'] = {'port': 8010}, or c['protocols'] = {'buildwright': {'port': 9989}})"
        ),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 +", "SyntaxError: invalid syntax: 1 +"),
        ("if True:", "IndentationError: expected an indented block after 'if' statement on line 8"),
        ("import sys; sys.exit(3)", "the configuration asked the process to exit (3)"),
        ("wroker.Worker('a', 'b')", "NameError: name 'wroker' is not defined (did you mean 'worker'?)"),
        (
            "util.BuildFactori()",
            "NoSuchName: buildwright.plugins.util has no 'BuildFactori' (did you mean 'BuildFactory'?)",
        ),
        ("util.Worker('a')", "NoSuchName: buildwright.plugins.util has no 'Worker' (it is worker.Worker)"),
        (
            "from buildwright.plugins import step",
            "ImportError: cannot import name 'step' from 'buildwright.plugins'",
        ),
        (
            "from buildwright.plugins import reporters",
            (
                "ImportError: cannot import name 'reporters' from 'buildwright.plugins' (not here yet:"
                " reporters: mails, comments and states at forges)"
            ),
        ),
        (
            "steps.HLint()",
            "NoSuchName: buildwright.plugins.steps has no 'HLint' (refused: its tool is dead)",
        ),
        (
            "util.AvatarGravatar()",
            (
                "NoSuchName: buildwright.plugins.util has no 'AvatarGravatar' (refused: the page shows no"
                " pictures of people)"
            ),
        ),
        (
            "util.BuilderConfig(slavenames=['a'])",
            (
                "TypeError: util.BuilderConfig() got an unexpected keyword argument 'slavenames'"
                " (it is 'workernames' now)"
            ),
        ),
        (
            "util.BuilderConfig(category='a')",
            (
                "TypeError: util.BuilderConfig() got an unexpected keyword argument 'category'"
                " (it is 'tags' now)"
            ),
        ),
        (
            "worker.Worker('a', 'b', max_build=3)",
            (
                "TypeError: worker.Worker() got an unexpected keyword argument 'max_build'"
                " (did you mean 'max_builds'?)"
            ),
        ),
        (
            "util.BuilderConfig(workers=['a'])",
            (
                "TypeError: util.BuilderConfig() got an unexpected keyword argument 'workers'"
                " (did you mean 'workernames'?)"
            ),
        ),
        (
            "worker.Worker()",
            "TypeError: worker.Worker() missing 2 required positional arguments: 'name' and 'password'",
        ),
        ("import helperz", "ModuleNotFoundError: No module named 'helperz' (is it installed"),
        ("{}['a']", "KeyError: 'a'"),
        ("assert c is None", "AssertionError"),
    ],
)
def test_an_exception_is_one_line_at_its_place(line: str, said: str, site: Site) -> None:
    (error,) = site.refused(f"{WHOLE}{line}\n")
    place, _, message = error.partition(": ")
    assert place in ("master.cfg:8", "master.cfg:9")
    assert message.startswith(said)


def test_an_exception_in_a_library_has_the_users_line(site: Site) -> None:
    site.write("parts.py", "import json\n\ndef read():\n    return json.loads('{')\n")
    (error,) = site.refused(f"{WHOLE}import parts\nparts.read()\n")
    assert error.startswith("parts.py:4: JSONDecodeError: Expecting property name")


def test_a_parameter_of_the_users_own_class_is_hinted_at(site: Site) -> None:
    (error,) = site.refused(f"{WHOLE}def make(timeout): pass\nmake(timeuot=3)\n")
    assert error == (
        "master.cfg:9: TypeError: make() got an unexpected keyword argument 'timeuot'"
        " (did you mean 'timeout'?)"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\n", "the file doesn't define BuildmasterConfig (it begins with: c = BuildmasterConfig = {})"),
        ("BuildmasterConfig = []\n", "BuildmasterConfig must be a dict, not list"),
    ],
)
def test_no_configuration_at_all(text: str, said: str, site: Site) -> None:
    (error,) = site.refused(text)
    assert said in error


def test_an_empty_configuration_says_what_is_missing(site: Site) -> None:
    assert site.refused("c = BuildmasterConfig = {}\n") == [
        "master.cfg:1: no workers are configured (add one to c['workers'])",
        "master.cfg:1: no builders are configured (add one to c['builders'])",
    ]


def test_a_file_that_is_not_there(site: Site) -> None:
    assert site.refused() == ["master.cfg: the configuration can't be read: No such file or directory"]


def test_a_subclass_of_the_users_is_reported_where_it_is_made(site: Site) -> None:
    assert site.refused(
        WHOLE
        + """
class Own(util.BuilderConfig):
    def __init__(self, name):
        super().__init__(name=name, workernames=['w9'], factory=util.BuildFactory(), tags=3)
c['builders'] += [
    Own('b1'),
    Own('b2')]
c['schedulers'].append(schedulers.SingleBranchScheduler('s2', builderNames=['b1', 'b2'], branch='x'))
"""
    ) == [
        "master.cfg:13: builder 'b1': tags must be a list of texts, not int 3 (as in tags=['nightly'])",
        "master.cfg:13: there are two builders named 'b1' (the first is at master.cfg:5)",
        "master.cfg:14: builder 'b2': tags must be a list of texts, not int 3 (as in tags=['nightly'])",
        "master.cfg:14: builder 'b2' has the unknown worker 'w9' (add it to c['workers'])",
    ]
