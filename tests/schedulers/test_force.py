"""Forced builds: forms, what is taken from them, and what is refused."""

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.model.errors import ConfigErrors
from buildwright.schedulers.force import ForceRefused, ForceScheduler, force
from buildwright.schedulers.parameters import (
    AnyPropertyParameter,
    BaseParameter,
    BooleanParameter,
    ChoiceStringParameter,
    CodebaseParameter,
    FileParameter,
    FixedParameter,
    IntParameter,
    NestedParameter,
    PatchParameter,
    StringParameter,
    TextParameter,
    UserNameParameter,
    WorkerChoiceParameter,
)
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.units.schedulers import Wish, enable, register

BUILDERS = {"b1": 1, "b2": 2}


def value(parameter: BaseParameter, **given: Any) -> Any:
    into: dict[str, Any] = {}
    problems: dict[str, str] = {}
    parameter.collect(given, into, problems)
    return problems or into[parameter.name]


@pytest.mark.parametrize(
    ("parameter", "given", "expected"),
    [
        (StringParameter("x", default="d"), {}, "d"),
        (StringParameter("x", default="d"), {"x": ["v"]}, "v"),
        (StringParameter("x", default="d"), {"x": "  "}, "d"),
        (StringParameter("x"), {}, ""),
        (StringParameter("x"), {"x": 5}, "5"),
        (StringParameter("x", required=True), {}, {"x": "'x' needs to be specified"}),
        (StringParameter("x", regex="[a-z]+$"), {"x": "A"}, {"x": "'x' has to match [a-z]+$"}),
        (StringParameter("x", maxsize=2), {"x": "äb"}, {"x": "'x' is too long: at most 2 bytes"}),
        (StringParameter("x"), {"x": [{}]}, {"x": "'x' has to be text"}),
        (TextParameter("x"), {"x": "a\nb"}, "a\nb"),
        (FileParameter("x"), {"x": "a"}, "a"),
        (IntParameter("x", default=3), {}, 3),
        (IntParameter("x"), {}, 0),
        (IntParameter("x"), {"x": ["12"]}, 12),
        (IntParameter("x"), {"x": "1.5"}, {"x": "'x' has to be a whole number, not '1.5'"}),
        (BooleanParameter("x", default=True), {}, True),
        (BooleanParameter("x", default=True), {"other": 1}, False),
        (BooleanParameter("x"), {"x": [True]}, True),
        (BooleanParameter("x"), {"x": "false"}, False),
        (BooleanParameter("x"), {"x": "on"}, True),
        (FixedParameter("x", default="f"), {"x": "other"}, "f"),
        (ChoiceStringParameter("x", choices=["a", "b"], default="a"), {}, "a"),
        (ChoiceStringParameter("x", choices=["a", "b"]), {"x": "b"}, "b"),
        (ChoiceStringParameter("x", choices=["a", "b"]), {"x": "c"}, {"x": "'x' has to be one of a, b"}),
        (ChoiceStringParameter("x", choices=["a"], strict=False), {"x": "c"}, "c"),
        (ChoiceStringParameter("x", choices=["a", "b"], multiple=True), {"x": ["a", "b"]}, ["a", "b"]),
        (ChoiceStringParameter("x", choices=["a", "b"], multiple=True, default=["a"]), {}, ["a"]),
        (UserNameParameter("x"), {"x": "Ann <a@b.c>"}, "Ann <a@b.c>"),
        (UserNameParameter("x", need_email=False), {"x": "ann"}, "ann"),
        (WorkerChoiceParameter("x", choices=["w"]), {}, None),
        (WorkerChoiceParameter("x", choices=["w"]), {"x": "w"}, "w"),
    ],
)
def test_values(parameter: BaseParameter, given: dict[str, Any], expected: Any) -> None:
    assert value(parameter, **given) == expected


def test_an_email_address_is_wanted() -> None:
    assert "email" in value(UserNameParameter("x"), x="ann")["x"]


def test_groups_have_full_names_and_give_dicts() -> None:
    group = NestedParameter(
        "options", fields=[IntParameter("n"), NestedParameter("deep", fields=[StringParameter("s")])]
    )
    assert value(group, options_n="1", options_deep_s="x") == {"n": 1, "deep": {"s": "x"}}
    assert value(group, options_n="y") == {"options_n": "'n' has to be a whole number, not 'y'"}
    into: dict[str, Any] = {}
    NestedParameter("", fields=[StringParameter("a"), StringParameter("b", default="d")]).collect(
        {"a": "1"}, into, {}
    )
    assert into == {"a": "1", "b": "d"}


def test_any_property() -> None:
    into: dict[str, Any] = {}
    problems: dict[str, str] = {}
    parameter = AnyPropertyParameter("p")
    parameter.collect({"p_name": "x", "p_value": "1"}, into, problems)
    parameter.collect({}, into, problems)
    assert into == {"x": "1"}
    assert not problems
    parameter.collect({"p_name": "a b", "p_value": "1"}, into, problems)
    assert problems == {"p_name": "'a b' is no name of a property"}


def scheduler(**more: Any) -> ForceScheduler:
    return ForceScheduler("force", ["b1", "b2"], **more)


async def test_the_simplest_form() -> None:
    plan = await scheduler().plan({}, "ann")
    assert plan.reason == "A build was forced by 'ann': force build"
    assert plan.builder_names == ("b1", "b2")
    assert plan.stamps == (
        {"codebase": "", "branch": None, "revision": None, "repository": "", "project": ""},
    )
    assert json.loads(plan.properties) == {
        "reason": ["force build", "Force Build Form"],
        "owner": ["ann", "Force Build Form"],
        "scheduler": ["force", "Scheduler"],
    }


async def test_a_full_form() -> None:
    form = scheduler(
        codebases=[
            "lib",
            CodebaseParameter(
                "app", branch=ChoiceStringParameter("branch", choices=["m"]), patch=PatchParameter()
            ),
        ],
        properties=[NestedParameter("o", fields=[IntParameter("n")]), BooleanParameter("clean")],
        reasonString="%(reason)s!",
    )
    plan = await form.plan(
        {
            "username": ["Ann <ann@example.org>"],
            "reason": "why",
            "priority": "5",
            "lib_revision": "abc",
            "app_branch": "m",
            "app_patch_body": "diff",
            "o_n": 3,
            "clean": True,
        },
        builder_names=["b2"],
    )
    assert (plan.reason, plan.priority, plan.builder_names) == ("why!", 5, ("b2",))
    assert plan.stamps[0] == {
        "codebase": "lib",
        "branch": None,
        "revision": "abc",
        "repository": "",
        "project": "",
    }
    app = plan.stamps[1]
    assert not isinstance(app, int)
    assert app["branch"] == "m"
    assert app["patch"] == {"body": b"diff", "level": 1, "author": "", "comment": "", "subdir": "."}
    properties = {name: value for name, (value, _) in json.loads(plan.properties).items()}
    assert properties == {
        "o": {"n": 3},
        "clean": True,
        "reason": "why",
        "owner": "Ann <ann@example.org>",
        "scheduler": "force",
    }


async def test_all_mistakes_are_told_at_once() -> None:
    form = scheduler(properties=[IntParameter("n"), StringParameter("s", required=True)])
    with pytest.raises(ForceRefused) as refused:
        await form.plan({"username": "ann", "n": "x"}, builder_names=["b1", "b9"])
    assert set(refused.value.problems) == {"username", "n", "s", "builderNames"}


def test_the_form_is_data() -> None:
    form = scheduler(label="L", buttonName="B", codebases=["", "lib"], properties=[TextParameter("t")]).form()
    assert (form["name"], form["label"], form["button_name"], form["builder_names"]) == (
        "force",
        "L",
        "B",
        ["b1", "b2"],
    )
    main, codebase, lib, text = form["all_fields"]
    assert [field["fullName"] for field in main["fields"]] == ["username", "reason", "priority"]
    assert [field["fullName"] for field in codebase["fields"]] == [
        "branch",
        "revision",
        "repository",
        "project",
    ]
    assert lib["fields"][0]["fullName"] == "lib_branch"
    assert lib["columns"] == 2
    assert (text["type"], text["cols"], text["rows"]) == ("textarea", 80, 20)
    json.dumps(form)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForceScheduler("a b", ["b"]), "name must be letters"),
        (lambda: scheduler(properties=["x"]), "properties must be parameters, not str 'x'"),
        (lambda: scheduler(reason="x"), "reason must be a parameter"),
        (lambda: scheduler(codebases={"a": {}}), "codebases must be a list"),
        (lambda: scheduler(reasonString="%(who)s"), "can't be filled in"),
        (
            lambda: scheduler(properties=[StringParameter("x"), StringParameter("x")]),
            "two fields are called 'x'",
        ),
        (lambda: StringParameter("owner"), "the name is taken"),
        (lambda: StringParameter("x", regex="("), "is no regular expression"),
        (lambda: NestedParameter("x", layout="round"), "layout must be one of"),
        (lambda: NestedParameter("x", columns=5), "columns must be 1 to 4"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert message in str(caught.value)


async def test_a_repeated_force_gets_the_first_answer(stores: list[Store]) -> None:
    """P1: also at the same time, also on two masters."""
    ids = await stores[0].run(register([Wish("force")]))

    async def call(number: int, key: str | None, **params: Any) -> Any:
        return await force(
            stores[number % 2],
            scheduler(),
            ids["force"],
            {"owner": "me", **params},
            owner="ann",
            key=key,
            builder_ids=BUILDERS,
            now_us=1,
        )

    answers = await asyncio.gather(*(call(number, "k", builderid=2) for number in range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert set(answers[0][1]) == {2}
    assert set((await call(0, None))[1]) == {1, 2}
    assert set((await call(0, None, builderNames=["b1"]))[1]) == {1}
    [(count,)] = await stores[0].fetch(sa.select(sa.func.count()).select_from(schema.buildsets))
    assert count == 3
    with pytest.raises(ForceRefused, match="there is no builder 7"):
        await call(0, None, builderid=7)
    await stores[0].run(enable(ids["force"], False))
    with pytest.raises(ForceRefused, match="disabled"):
        await call(0, None)
