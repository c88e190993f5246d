"""Projects, which builders belong to, and the codebases of projects: names for people and their pages."""

from __future__ import annotations

import re
from typing import Any

from buildwright.model.errors import Where, error, expect, location, shown

SLUG_MOST = 50

_SLUG = re.compile(r"[A-Za-z_-][A-Za-z0-9_.-]*\Z")
_NOT_IN_SLUGS = re.compile(r"[^A-Za-z0-9_.-]+")


def slug_of(name: str) -> str:
    """A name as one for URLs."""
    slug = _NOT_IN_SLUGS.sub("-", name)
    return (slug if _SLUG.match(slug) else f"_{slug}")[:SLUG_MOST]


def _named(name: Any, kind: str) -> str:
    if not isinstance(name, str) or not name:
        error(f"a {kind}'s name must be text, not {shown(name)}", f"as in {kind.capitalize()}(name='...')")
        return ""
    return str(name)


def _slug(slug: Any, name: str, kind: str) -> str:
    if slug is None:
        return slug_of(name)
    if not expect(slug, str, f"{kind} {name!r}: slug", "text"):
        return ""
    if not _SLUG.match(slug) or len(slug) > SLUG_MOST:
        error(
            f"{kind} {name!r}: the slug {slug!r} can't stand in URLs",
            f"up to {SLUG_MOST} of letters, digits, '_', '-' and '.', and no digit first",
        )
    return str(slug)


class Project:
    """What several builders belong to: ``BuilderConfig(project=name)``.

    Example::

        c["projects"] = [
            util.Project("website", description="What *everybody* reads.", description_format="markdown")
        ]
        c["builders"].append(
            util.BuilderConfig("pages", workernames=["linux"], factory=factory, project="website")
        )
    """

    def __init__(
        self,
        name: str,
        slug: str | None = None,
        description: str | None = None,
        description_format: str | None = None,
    ) -> None:
        self.where: Where | None = location(self)
        self.name = _named(name, "project")
        self.slug = _slug(slug, self.name, "project")
        self.description = description
        if description is not None:
            expect(description, str, f"project {self.name!r}: description", "text")
        self.description_format = description_format
        if description_format not in (None, "markdown"):
            error(
                f"project {self.name!r}: description_format must be None or 'markdown', "
                f"not {shown(description_format)}"
            )

    def __repr__(self) -> str:
        return f"<Project {self.name!r}>"


class Codebase:
    """A repository of a project.

    Example::

        c["projects"] = [util.Project("website")]
        c["codebases"] = [util.Codebase("pages", project="website")]
    """

    def __init__(self, name: str, project: str, slug: str | None = None) -> None:
        self.where: Where | None = location(self)
        self.name = _named(name, "codebase")
        self.project = project
        given: Any = project
        if not isinstance(given, str) or not given:
            self.project = ""
            error(f"codebase {self.name!r}: project must be a project's name, not {shown(project)}")
        self.slug = _slug(slug, self.name, "codebase")

    def __repr__(self) -> str:
        return f"<Codebase {self.name!r} of {self.project!r}>"
