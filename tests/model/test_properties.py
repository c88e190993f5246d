"""Properties: values with sources, what can be stored, and which of them a build starts with."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model.builders import BuilderConfig, BuildFactory
from buildwright.model.precedence import build_properties
from buildwright.model.properties import Properties, json_problem
from buildwright.model.sources import SourceStamp
from buildwright.model.workers import Worker

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(text, st.tuples(plain, text), max_size=6))
def test_properties_survive_being_stored(entries: Any) -> None:
    made = Properties()
    for name, (value, source) in entries.items():
        made.setProperty(name, value, source)
    back = Properties.from_json(made.to_json())
    assert back.asDict() == entries
    assert back == made


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({1, 2}, "type set"),
        (b"bytes", "type bytes"),
        (object(), "type object"),
        ({1: "a"}, "the key 1"),
        ([{"a": {3}}], "type set"),
        (float("nan"), "nan"),
        (2**63, "64 bits"),
        ("caf\udce9", "not UTF-8"),
    ],
)
def test_what_json_cannot_hold_is_refused_where_it_is_set(value: Any, problem: Any) -> None:
    made = Properties(x="before")
    with pytest.raises(ValueError, match=problem):
        made.setProperty("x", value, "test")
    assert made["x"] == "before"
    assert problem in (json_problem(value) or "")


def test_reading() -> None:
    made = Properties(a=1, nothing=None)
    assert made.getProperty("a") == 1
    assert made.getProperty("b", 7) == 7
    assert made.getProperty("nothing", 7) is None
    assert made.hasProperty("a")
    assert made.has_key("a")
    assert "b" not in made
    assert made.getPropertySource("a") == "TEST"
    assert made.asList() == [("a", 1, "TEST"), ("nothing", None, "TEST")]
    with pytest.raises(KeyError):
        made["b"]
    assert made.getProperties() is made
    assert made.getBuild() is None


def test_properties_set_at_run_time_stay_with_their_build() -> None:
    made = Properties(a=1)
    made.setProperty("b", 2, "step", runtime=True)
    travelled, copied = Properties(), Properties()
    travelled.updateFromPropertiesNoRuntime(made)
    copied.updateFromProperties(made)
    assert travelled.asDict() == {"a": (1, "TEST")}
    assert copied.asDict() == {"a": (1, "TEST"), "b": (2, "step")}
    assert copied.runtime == {"b"}


def test_writes_are_told() -> None:
    told = []
    made = Properties(a=1)
    made.on_change = lambda *change: told.append(change)
    made.setProperty("a", 2, "step")
    made.update({"b": 3, "c": 4}, "other")
    with pytest.raises(ValueError, match="type set"):
        made.setProperty("d", {1}, "step")
    assert told == [("a", 2, "step"), ("b", 3, "other"), ("c", 4, "other")]


def start_with(**given: Any) -> Any:
    builder = {"name": "b", "workernames": ["w"], "factory": BuildFactory(), **given.pop("builder", {})}
    arguments = {
        "general": Properties(),
        "changes": [],
        "request": {},
        "builder": BuilderConfig(**builder),
        "builderid": 3,
        "worker": Worker("w", "secret", **given.pop("worker", {})),
        "number": 17,
        "stamps": [],
        **given,
    }
    return build_properties(**arguments)


def of(**values: Any) -> Any:
    return {name: (value, "Scheduler") for name, value in values.items()}


def test_each_level_overrides_the_one_before() -> None:
    levels = {
        "general": Properties(p="general"),
        "changes": [Properties(p="older change"), Properties(p="newer change")],
        "request": of(p="request"),
        "builder": {"properties": {"p": "builder"}},
        "worker": {"properties": {"p": "worker"}},
    }
    values = [
        start_with(**dict(list(levels.items())[:count])).getProperty("p")
        for count in range(1, len(levels) + 1)
    ]
    assert values == ["general", "newer change", "request", "builder", "worker"]


@pytest.mark.parametrize("level", ["builder", "worker"])
def test_defaults_fill_only_what_is_unset(level: Any) -> None:
    made = start_with(
        request=of(a="request", n=None), **{level: {"defaultProperties": {"a": 1, "n": 1, "b": 2}}}
    )
    assert made.getProperty("a") == "request"
    assert made.getProperty("n", "missing") is None
    assert made.getProperty("b") == 2


def test_a_builders_defaults_come_before_the_workers() -> None:
    made = start_with(builder={"defaultProperties": {"a": 1}}, worker={"defaultProperties": {"a": 2, "b": 2}})
    assert (made["a"], made["b"]) == (1, 2)


def test_what_the_build_itself_knows_cannot_be_overridden() -> None:
    given = of(
        buildername="x", builderid=0, workername="x", buildnumber=0, branch="x", owners=["x"], basedir="x"
    )
    stamp = SourceStamp(branch=None, revision="abc", repository="r", project="p", codebase="c")
    made = start_with(request=given, stamps=[stamp], basedir="/w", builddir="/w/b")
    assert made.getProperty("buildername") == "b"
    assert made.getProperty("builderid") == 3
    assert made.getProperty("workername") == "w"
    assert made.getProperty("buildnumber") == 17
    assert [
        made.getProperty(name) for name in ("branch", "revision", "repository", "project", "codebase")
    ] == [
        None,
        "abc",
        "r",
        "p",
        "c",
    ]
    assert (made["basedir"], made["builddir"]) == ("/w", "/w/b")
    sources = {name: source for name, (_, source) in made.items()}
    assert sources["buildername"] == "Builder"
    assert sources["workername"] == "Worker"
    assert sources["buildnumber"] == sources["branch"] == "Build"


def test_a_build_of_several_codebases_has_no_branch() -> None:
    made = start_with(stamps=[SourceStamp(codebase="a", branch="x"), SourceStamp(codebase="b", branch="y")])
    assert not any(name in made for name in ("branch", "revision", "repository", "project", "codebase"))


def test_owners_come_from_the_owner_of_the_request() -> None:
    assert start_with(request=of(owner="ann"))["owners"] == ["ann"]
    assert "owners" not in start_with()


def test_changes_are_the_source_of_their_properties() -> None:
    made = start_with(changes=[Properties(a=1)], general=Properties(g=1))
    assert made.getPropertySource("a") == "Change"
    assert made.getPropertySource("g") == "TEST"
