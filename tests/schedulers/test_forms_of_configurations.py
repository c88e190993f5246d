"""Forms as a configuration writes them, filled in on a running master."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from buildwright.model.results import SUCCESS
from buildwright.store import schema
from buildwright.web.errors import Refused
from tests.support.rig import rig

FORM = """
c["validation"] = {"branch": r"[a-z]+$", "revision": r"[0-9a-f]+$", "property_name": r"\\w+$",
                   "property_value": r"[\\w ,-]*$"}
builder("b", steps.ShellCommand(command=["echo", util.Property("text")]))
c["schedulers"].append(schedulers.ForceScheduler(
    name="force", builderNames=["b"],
    username=util.UserNameParameter(),
    reason=util.StringParameter("reason", default="because"),
    priority=util.IntParameter("priority", default=3),
    codebases=[util.CodebaseParameter("", repository=util.FixedParameter("repository", default="/srv/r"),
                                      patch=util.PatchParameter())],
    properties=[
        util.StringParameter("text", default="hello"),
        util.TextParameter("more", default=""),
        util.IntParameter("count", default=1),
        util.BooleanParameter("clean", default=False),
        util.ChoiceStringParameter("level", choices=["low", "high"], default="low"),
        util.FileParameter("file"),
        util.WorkerChoiceParameter(),
        util.AnyPropertyParameter("any"),
        util.NestedParameter("nested", fields=[util.StringParameter("inner", default="in")]),
        util.ParameterGroup("group", fields=[util.IntParameter("size", default=2)]),
    ]))
"""


async def test_a_form_of_every_kind_of_field(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM) as it:
        control = it.master.core.control()
        form = {
            "text": "typed",
            "count": "7",
            "clean": "true",
            "level": "high",
            "branch": "main",
            "any_name": "extra",
            "any_value": "thing",
            "nested_inner": "deep",
            "group_size": "5",
        }
        added = await control.force("force", form, "ann", None)
        assert added is not None
        ((requestid,),) = await it.store.fetch(sa.select(schema.buildrequests.c.id))
        built = await it.finished(requestid)
        assert built.results == SUCCESS
        assert built.log("shell").out == b"typed\n"
        assert built.properties["count"] == 7
        assert built.properties["clean"] is True
        assert built.properties["level"] == "high"
        assert built.properties["nested"] == {"inner": "deep"}
        assert built.properties["group"] == {"size": 5}
        assert built.properties["extra"] == "thing"
        assert built.properties["owner"] == "ann"
        assert built.properties["reason"] == "because"
        assert (built.properties["branch"], built.properties["repository"]) == ("main", "/srv/r")


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({"branch": "Main"}, "branch", "c['validation']['branch'] forbids 'Main'"),
        ({"revision": "HEAD~1"}, "revision", "c['validation']['revision'] forbids 'HEAD~1'"),
        ({"text": "a; b"}, "text", "c['validation']['property_value'] forbids 'a; b'"),
        ({"any_name": "a-b", "any_value": "c"}, "a-b", "c['validation']['property_name'] forbids 'a-b'"),
    ],
)
async def test_what_the_configuration_forbids(
    form: dict[str, str], field: str, said: str, tmp_path: Path
) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM, workers=()) as it:
        with pytest.raises(Refused) as refused:
            await it.master.core.control().force("force", form, "ann", None)
        assert refused.value.message == {field: said}
        assert not await it.store.fetch(sa.select(schema.buildrequests.c.id))


@pytest.mark.parametrize(
    ("more", "problems"),
    [
        ({"branch": "Main"}, {"branch": "c['validation']['branch'] forbids 'Main'"}),
        ({"revision": "HEAD~1"}, {"revision": "c['validation']['revision'] forbids 'HEAD~1'"}),
        ({"properties": {"a-b": 1}}, {"properties": "c['validation']['property_name'] forbids 'a-b'"}),
        ({}, None),
    ],
)
async def test_what_it_forbids_of_changes(
    more: dict[str, object], problems: dict[str, str] | None, tmp_path: Path
) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM, workers=()) as it:
        params = {"author": "ann", "branch": "main", "revision": "ab12", "properties": {"x": 1}, **more}
        add = it.master.core.control().add_change
        if problems is None:
            assert await add(params, None)
            return
        with pytest.raises(Refused) as refused:
            await add(params, None)
        assert refused.value.message == problems
        assert not await it.store.fetch(sa.select(schema.changes.c.id))
