"""Projects and codebases in a configuration, and in the store."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Hint
from tests.config.support import WHOLE, Site
from tests.support.rig import Rig, rig


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("c['projects'] = 'x'", "8: c['projects'] must be a list, not str 'x'"),
        ("c['projects'] = ['x']", "8: c['projects'][0] must be a Project, not str 'x' (as in util.Project("),
        ("c['projects'] = [util.Project('')]", "8: a project's name must be text, not str ''"),
        ("c['projects'] = [util.Project(3)]", "8: a project's name must be text, not int 3"),
        (
            "c['projects'] = [util.Project('a'), util.Project('a')]",
            "8: there are two projects named 'a' (the first is at master.cfg:8)",
        ),
        ("c['projects'] = [util.Project('a', slug='a b')]", "8: project 'a': the slug 'a b' can't stand in"),
        ("c['projects'] = [util.Project('a', slug=1)]", "8: project 'a': slug must be text, not int 1"),
        (
            "c['projects'] = [util.Project('a', description_format='rst')]",
            "8: project 'a': description_format must be None or 'markdown', not str 'rst'",
        ),
        ("c['codebases'] = [util.Codebase('x', None)]", "8: codebase 'x': project must be a project's name"),
        (
            "c['codebases'] = [util.Codebase('x', 'websit')]; c['projects'] = [util.Project('website')]",
            "8: codebase 'x' has the unknown project 'websit' (did you mean 'website'?)",
        ),
        (
            "c['builders'][0].project = 'none'",
            "5: builder 'b1' has the unknown project 'none' (add it to c['projects'])",
        ),
    ],
)
def test_mistakes(lines: str, said: str, site: Site) -> None:
    errors = site.refused(f"{WHOLE}{lines}\n")
    assert [error for error in errors if error.startswith(f"master.cfg:{said}")], errors


def test_names_become_slugs(site: Site) -> None:
    snapshot = site.load(
        f"{WHOLE}c['projects'] = [util.Project('Web site/2'), util.Project('9 lives', slug='nine')]\n"
        "c['codebases'] = [util.Codebase('main', '9 lives'), util.Codebase('main', 'Web site/2')]\n"
    )
    assert [each.slug for each in snapshot.projects.values()] == ["Web-site-2", "nine"]
    assert list(snapshot.codebases) == [("9 lives", "main"), ("Web site/2", "main")]


TEXT = """
c["projects"] = [util.Project("site", description="SAYS", description_format="markdown")]
c["codebases"] = [util.Codebase("pages", "site"), util.Codebase("tools", "site", slug="t")]
builder("b", steps.SetProperty("of", util.Property("projectname")), project="site")
"""


async def test_they_are_in_the_store_and_change_with_a_reload(tmp_path: Path) -> None:
    _p, _cb, _b = schema.projects.c, schema.codebases.c, schema.builders.c

    async def rows(it: Rig) -> list[object]:
        projects = await it.store.fetch(sa.select(_p.id, _p.name, _p.slug, _p.description))
        codebases = await it.store.fetch(sa.select(_cb.projectid, _cb.name, _cb.slug).order_by(_cb.id))
        return [[tuple(row) for row in each] for each in (projects, codebases)]

    async with rig(tmp_path, "sqlite:///state.sqlite", TEXT) as it:
        before = [[(1, "site", "site", "SAYS")], [(1, "pages", "pages"), (1, "tools", "t")]]
        assert await rows(it) == before
        assert await it.store.fetch(sa.select(_b.projectid)) == [(1,)]
        assert (await it.build()).properties["of"] == "site"
        heard: list[Hint] = []
        it.master.bus.subscribe(None, heard.extend)
        it.configure(TEXT.replace("SAYS", "new words").replace('slug="t"', 'slug="u"'))
        await it.master.reload()
        assert await rows(it) == [
            [(1, "site", "site", "new words")],
            [(1, "pages", "pages"), (1, "tools", "u")],
        ]
        told = [(hint.kind, hint.id, hint.event) for hint in heard if hint.kind in ("projects", "codebases")]
        assert told == [("projects", 1, "update"), ("codebases", 2, "update")]
