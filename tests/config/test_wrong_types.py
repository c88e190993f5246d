"""Whatever argument of whatever class is given something of the wrong type: one line with file, line, the
argument's name and what it takes.
"""

import functools
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildwright import plugins
from buildwright.builds.step import BuildStep
from buildwright.model.arguments import Checked, parse
from buildwright.model.builders import BuildFactory
from buildwright.model.errors import Collector, ConfigError, ConfigErrors, collected, collecting
from tests.config.support import WHOLE, Site

# Made by the code of steps, not by a configuration.
OF_STEPS = ("buildwright.builds.commands", "buildwright.builds.observers")
# What arguments are given, so that nothing but the one in question is wrong.
EXAMPLES: dict[str, Any] = {
    "args": {},
    "auth": ("ann", "password"),
    "builderNames": ["b"],
    "commands": [],
    "choices": ["a"],
    "factory": BuildFactory(),
    "fields": [],
    "filters": [],
    "fn": len,
    "function": len,
    "method": "GET",
    "name": "x",
    "nestedlist": [],
    "o": {},
    "periodicBuildTimer": 60,
    "port": 9989,
    "properties": {"a": 1},
    "repourl": "https://x/y",
    "revlink": "%s",
    "userpass": [("a", "b")],
    "variables": ["A"],
    "workernames": ["w"],
}
# Arguments that a class decides itself.
DECIDED = {
    "AnyBranchScheduler": {"branch"},
    "AnyPropertyParameter": {"fields"},
    "CodebaseParameter": {"fields"},
    "GoogleAuth": {"issuer", "usernameClaim"},
    "JSONPropertiesDownload": {"s"},
    "JSONStringDownload": {"s"},
    "PatchParameter": {"fields"},
    **{verb: {"method"} for verb in ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")},
}
# What an argument is called in an error, where that isn't its name.
CALLED = {
    "build_data_horizon": "build_data",
    "fmtstring": "the text",
    "fn": "a function",
    "key": "the name",
    "logHorizon": "logs",
    "logfile": "logname",
    "secret_name": "the name",
    "source": "a step",
    **dict.fromkeys(("reconf", "compile", "test", "distcheck"), "command"),
    **dict.fromkeys(("branch", "revision", "repository", "project", "patch"), "fields"),
}
# Anything goes: only its truth counts, or it is no argument of a configuration's.
ANYTHING = {
    ("Assert", "check"),
    ("FlattenList", "nestedlist"),
    ("FlattenList", "types"),
    ("LogRenderable", "content"),
    ("Property", "default"),
    ("Property", "defaultWhenFalse"),
    ("renderer", "args"),
    ("renderer", "kwargs"),
}
# Of no argument's type, and of some arguments' type but without sense.
WRONG: tuple[Any, ...] = (object(), 5j)
ODD: tuple[Any, ...] = (-7, "x y", "", "a\0b", b"x", [object()], {1: object()}, dict)
# Both say the same to whoever reads them.
SAYS_WHAT_IT_TAKES = (" must ", " takes ", " neither ")


def classes() -> Iterator[tuple[str, type]]:
    for namespace, names in plugins.TABLE.items():
        for name, module in names.items():
            found = functools.reduce(getattr, name.split("."), getattr(plugins, namespace))
            abstract = inspect.isabstract(found)  # for classes of one's own to begin with
            if inspect.isclass(found) and not abstract and module not in OF_STEPS and _takes_arguments(found):
                yield f"{namespace}.{name}", found


def _takes_arguments(cls: type) -> bool:
    return isinstance(cls, Checked) or cls.__init__ is not object.__init__  # type: ignore[misc]


def arguments(cls: Any) -> dict[str, tuple[str | None, bool]]:
    """name -> (annotation, whether it has to be given)."""
    found: dict[str, tuple[str | None, bool]] = {}
    outermost = True
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        for each in parameters:
            if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
                annotation = each.annotation if isinstance(each.annotation, str) else None
                found.setdefault(each.name, (annotation, outermost and each.default is each.empty))
        outermost = False
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    for name in (*getattr(cls, "shell_arguments", ()), *getattr(cls, "parms", ())):
        found.setdefault(name, ("str", False))
    decided = DECIDED.get(cls.__name__, ())
    return {name: each for name, each in found.items() if name not in decided}


def errors_of(cls: type, given: dict[str, Any], directory: Path) -> list[ConfigError]:
    collector = Collector(root=f"{Path(__file__).parent}/", basedir=directory)
    token = collecting(collector)
    try:
        cls(**given)
    finally:
        collected(token)
    return collector.errors


def unclear(error: ConfigError) -> str:
    """The line of an error that doesn't say, in one line and with its place, what to write instead."""
    line = str(error)
    says = error.hint or any(words in line for words in SAYS_WHAT_IT_TAKES)
    return "" if says and "\n" not in line and error.file == __file__ and error.line else line


@pytest.mark.parametrize(("name", "cls"), list(classes()))
def test_an_argument_of_the_wrong_type_is_one_line(name: str, cls: type, tmp_path: Path) -> None:
    known = arguments(cls)
    needed = {
        argument: EXAMPLES.get(argument, str(tmp_path) if argument == "dirname" else "x")
        for argument, (_, required) in known.items()
        if required or (name == "util.BuilderConfig" and argument in ("name", "workernames", "factory"))
    }
    usual = {each.message for each in errors_of(cls, needed, tmp_path)}
    wrong = []
    for argument in known:
        if (cls.__name__, argument) in ANYTHING:
            continue
        for value in WRONG:
            try:
                found = errors_of(cls, {**needed, argument: value}, tmp_path)
            except Exception as problem:
                wrong.append(f"{argument}: {problem!r}")
                break
            names = (argument, CALLED.get(argument, argument))
            told = [
                each
                for each in found
                if each.message not in usual and any(name in each.message for name in names)
            ]
            if not told:
                wrong.append(f"{argument}: {[str(each) for each in found if each.message not in usual]}")
                break
            wrong += [f"{argument}: {line}" for each in told[:1] if (line := unclear(each))]
        for value in ODD:  # may be right; what is said of it is clear all the same
            try:
                found = errors_of(cls, {**needed, argument: value}, tmp_path)
            except Exception as problem:
                wrong.append(f"{argument}={value!r}: {problem!r}")
            else:
                new = [each for each in found if each.message not in usual]
                wrong += [f"{argument}={value!r}: {line}" for each in new if (line := unclear(each))]
    assert not wrong, f"{name}:\n" + "\n".join(dict.fromkeys(wrong))


IN_A_CONFIGURATION = """
from datetime import timedelta
c['change_source'] = changes.GitPoller('https://x/y', pollInterval=timedelta(minutes=5))
c['schedulers'] += [
    schedulers.AnyBranchScheduler('s2', builderNames=['b1'], treeStableTimer='60', categories=5),
    schedulers.Nightly('s3', builderNames=['b1'], hour=2.5, force_at_day_of_week={}),
]
f = util.BuildFactory([
    steps.ShellCommand(command='make', haltOnFailure='yes', doStepIf=3.5, logEnviron=[]),
    steps.FileUpload(workersrc='a', masterdest='b', keepstamp='no', workdir=3),
])
"""
IN_THAT_CONFIGURATION = """\
10: GitPoller 'https://x/y': pollInterval must be a number of seconds, not timedelta
12: AnyBranchScheduler 's2': treeStableTimer must be a number
12: AnyBranchScheduler 's2': categories must be a list or None, not int 5 (put it in a list: [...])
13: Nightly 's3': force_at_day_of_week: an empty list is never due
13: Nightly 's3': hour: 2.5 is neither a number, a list of numbers nor cron text (as in 3, [3, 15] or '*/6')
16: step ShellCommand: logEnviron must be True or False, not list (give it True or False)
16: step ShellCommand: haltOnFailure must be True or False, not str 'yes' (give it True or False)
16: step ShellCommand: doStepIf must be True or False or a function, not float 3.5
17: step FileUpload: workdir must be text or None, not int 3 (write it in quotes: '3')
17: FileUpload: keepstamp must be True or False, not str 'no' (give it True or False)
"""


def test_in_a_configuration(site: Site) -> None:
    told = site.refused(WHOLE + IN_A_CONFIGURATION)
    for line, wanted in zip(told, IN_THAT_CONFIGURATION.splitlines(), strict=True):
        assert line.startswith(f"master.cfg:{wanted}")


class Base(metaclass=Checked):
    def __init__(self, *names: str) -> None:
        self.names = names


def test_classes_of_the_users_own_are_their_own_business() -> None:
    class Own(Base):
        def __init__(self, size: int) -> None:
            super().__init__(str(size))

    assert Own("large").names == ("large",)  # type: ignore[arg-type]


def test_outside_of_a_load_the_first_is_raised() -> None:
    with pytest.raises(ConfigErrors, match="FileUpload: keepstamp must be True or False, not str 'no'"):
        plugins.steps.FileUpload("a", "b", keepstamp="no")  # type: ignore[arg-type]
    assert issubclass(plugins.steps.FileUpload, BuildStep)


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        ("int | None", "a number or None"),
        ("str | Sequence[str] | None", "text, a list or None"),
        ("Mapping[str, int | None]", "a dict"),
        ("Callable[[int | str], Any] | bool", "a function or True or False"),
        ("Any", None),
        ("str | Scheduler", None),
        ("None", None),
    ],
)
def test_what_annotations_say(annotation: str, wanted: str | None) -> None:
    check = parse(annotation)
    assert (check and check.wanted) == wanted
