"""Builders, factories, workers and locks: what they take, and what they say when it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.model.builders import BuilderConfig, BuildFactory, StepSpec, safe_name
from buildwright.model.errors import Collector, ConfigErrors, collected, collecting
from buildwright.model.locks import MasterLock, WorkerLock
from buildwright.model.render import Secret, renderer
from buildwright.model.workers import LocalWorker, Worker


def builder(**given: Any) -> Any:
    return BuilderConfig(**{"name": "b", "workernames": ["w"], "factory": BuildFactory(), **given})


class Step:
    """As a step of the library: its construction is recorded."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        step = super().__new__(cls)
        vars(step)["_spec"] = StepSpec(cls, args, kwargs)
        return step

    def __init__(self, name: Any, flag: Any = False) -> None:
        self.name = name
        self.flag = flag


def test_each_build_makes_steps_of_its_own() -> None:
    factory = BuildFactory([Step("a")])
    factory.addStep(Step("b", flag=True))
    factory.addSteps([Step("c")])
    first, second = ([spec.instantiate() for spec in factory.steps] for _ in range(2))
    assert [step.name for step in first] == ["a", "b", "c"]
    assert first[1].flag
    assert all(one is not other for one, other in zip(first, second, strict=True))
    assert factory.workdir == "build"


def test_a_builder_has_directories_and_defaults() -> None:
    made = builder(name="a/b c", tags=["x", "y"], properties={"p": 1})
    assert (made.builddir, made.workerbuilddir) == ("a_b_c", "a_b_c")
    assert made.properties.asDict() == {"p": (1, "Builder")}
    assert made.collapseRequests is None
    assert builder(builddir="here").workerbuilddir == "here"
    assert builder(workernames=None, workername="w").workernames == ["w"]
    assert builder(workernames="w").workernames == ["w"]


def test_directory_names() -> None:
    assert safe_name("a.b/c:d+e") == "a_b_c_d_e"


LOCK = MasterLock("lock")


def loose(cls: Any) -> Any:
    """A class whose arguments no type checker looks at."""
    return cls


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": None}, "a builder has no name"),
        ({"name": 3}, "a builder's name must be text, not int 3"),
        ({"name": "_x"}, "names that begin with '_' are reserved"),
        ({"workernames": []}, "has no worker"),
        ({"workernames": None}, "has no worker"),
        ({"workernames": 3}, "workernames must be a list of names, not int 3"),
        ({"workernames": ["w", 3]}, "a worker's name must be text, not int 3"),
        ({"workername": "v"}, "both workername and workernames"),
        ({"factory": None}, "has no factory"),
        ({"factory": []}, "the factory must be a BuildFactory, not list"),
        ({"tags": "abc"}, "tags must be a list"),
        ({"tags": ["a", "a"]}, "the tag 'a' is given twice"),
        ({"nextBuild": "x"}, "nextBuild must be a function, not str 'x'"),
        ({"collapseRequests": 3}, "collapseRequests must be True, False or a function, not int 3"),
        ({"locks": [LOCK]}, "lock 'lock' lacks its mode (write lock.access('counting') or 'exclusive')"),
        ({"locks": ["x"]}, "must hold lock accesses, not str 'x'"),
        ({"env": []}, "env must be a dict, not list"),
        ({"properties": {"p": {1}}}, "property 'p': a value of type set can't be stored"),
        ({"defaultProperties": {1: 2}}, "a property's name must be text"),
        ({"description": 3}, "description must be text"),
        ({"description_format": "html"}, "description_format must be None or 'markdown'"),
        ({"builddir": 3}, "builddir must be text"),
        ({"project": 3}, "project must be a project's name"),
    ],
)
def test_mistakes_of_builders(given: Any, said: Any) -> None:
    with pytest.raises(ConfigErrors) as caught:
        builder(**given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: loose(BuildFactory)([Step]), "addStep takes a step, not the class Step (write Step(...))"),
        (lambda: loose(BuildFactory)([None]), "addStep takes a step, not None"),
        (lambda: loose(BuildFactory)(Step("a")), "steps must be a list of steps"),
        (lambda: loose(Worker)("1a", "secret"), "must consist of letters"),
        (lambda: loose(Worker)("a b", "secret"), "must consist of letters"),
        (lambda: loose(Worker)("a" * 51, "secret"), "has 51 characters"),
        (lambda: loose(Worker)("change", "secret"), "this name is reserved"),
        (lambda: loose(Worker)("w", ""), "a password is needed"),
        (lambda: loose(Worker)("w", b"secret"), "must be text or a Secret"),
        (lambda: loose(Worker)("w", "secret", max_builds=0), "max_builds must be a number of 1 or more"),
        (lambda: loose(Worker)("w", "secret", missing_timeout="1"), "missing_timeout must be seconds"),
        (lambda: loose(Worker)("w", "secret", properties=[]), "properties must be a dict"),
        (lambda: loose(Worker)("w", "secret", notify_on_missing=3), "an address or a list of addresses"),
        (lambda: loose(LocalWorker)("w", password="x"), "takes no password"),
        (lambda: loose(LocalWorker)("w", workdir=3), "workdir must be a path"),
        (lambda: loose(MasterLock)("m", maxCount=0), "maxCount must be a number of 1 or more"),
        (lambda: loose(WorkerLock)("m", maxCountForWorker={"w": 0}), "maxCountForWorker['w']"),
        (lambda: loose(WorkerLock)("m", maxCountForWorker=[]), "maxCountForWorker must be a dict"),
        (lambda: LOCK.access("shared"), "must be 'counting' or 'exclusive', not str 'shared'"),
        (lambda: LOCK.access("counting", count=-1), "count must be a number of 0 or more"),
        (lambda: LOCK.access("exclusive", count=2), "its count must be 1"),
    ],
)
def test_other_mistakes(make: Any, said: Any) -> None:
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


def test_workers() -> None:
    made = Worker(
        "w-1.x", Secret("password"), max_builds=2, properties={"os": "linux"}, notify_on_missing="a@b"
    )
    assert made.workername == "w-1.x"
    assert made.properties.asDict() == {"os": ("linux", "Worker"), "workername": ("w-1.x", "Worker")}
    assert made.notify_on_missing == ["a@b"]
    assert (made.grace, made.deadman) == (600, 3600)
    assert LocalWorker("local").password is None


def test_locks_may_be_known_only_for_a_build() -> Any:
    @renderer
    def some(props: Any) -> Any:
        return []

    assert builder(locks=some).locks is some


def test_locks_of_one_definition_are_equal() -> None:
    assert MasterLock("a", 2) == MasterLock("a", maxCount=2)
    assert loose(MasterLock)("a") != WorkerLock("a")
    limits = WorkerLock("a", 1, {"w": 3})
    assert (limits.limit_for("w"), limits.limit_for("v")) == (3, 1)
    assert MasterLock("a", 2).limit_for("w") == 2
    assert len({limits, WorkerLock("a", 1, {"w": 3})}) == 1


class OwnWorker(Worker):
    """A subclass of a user's."""

    def __init__(self, name: Any) -> None:
        super().__init__(name, "secret", max_builds=0)


def test_the_place_is_where_a_users_subclass_is_made_not_where_it_calls_ours() -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        made = OwnWorker("w")  # here
    finally:
        collected(token)
    lines = Path(__file__).read_text().splitlines()
    line = next(at for at, text in enumerate(lines, 1) if text.endswith("# here"))
    assert made.where == (__file__, line)
    assert [(error.file, error.line) for error in collector.errors] == [(__file__, line)]
