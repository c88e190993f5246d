"""A change that comes in over the API: checked field by field, everything that is wrong told at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from buildwright.changes.pb import PBChangeSource
from buildwright.model.properties import SecretSource, json_problem
from buildwright.store.units.changes import NewChange
from buildwright.web.errors import Refused

SOURCE = "Change"
_TEXTS = (
    "author",
    "branch",
    "category",
    "codebase",
    "comments",
    "committer",
    "passwd",
    "project",
    "repository",
    "revision",
    "revlink",
    "username",
    "who",
)
FIELDS = (*_TEXTS, "files", "properties", "when_timestamp")
_LATEST = 2**53 // 1_000_000  # what a number of JSON can say in microseconds


def change_of(given: Mapping[str, Any], identity: str | None) -> NewChange:
    """The change that ``given`` describes; raises Refused. ``identity``: taken once."""
    problems: dict[str, str] = {}
    for name in sorted(set(given) - set(FIELDS)):
        problems[name] = f"a change has no such field; it has {', '.join(FIELDS)}"
    texts: dict[str, str] = {}
    for name in _TEXTS:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or "\0" in value or json_problem(value):
            problems[name] = "it must be text without NUL"
        else:
            texts[name] = value
    author = texts.get("author") or texts.get("who")
    if not author and not {"author", "who"} & set(problems):
        problems["author"] = "say who made the change"
    files = given.get("files") or []
    if not isinstance(files, list) or not all(isinstance(each, str) and "\0" not in each for each in files):
        problems["files"] = "it must be a list of paths"
    properties = given.get("properties") or {}
    if not isinstance(properties, dict):
        problems["properties"] = "it must be a mapping of names to values"
    elif problem := json_problem(properties):
        problems["properties"] = problem
    when = given.get("when_timestamp")
    if when is not None and not _is_time(when):
        problems["when_timestamp"] = "it must be seconds since 1970"
    if problems:
        raise Refused(problems)
    return NewChange(
        author=author or "",
        comments=texts.get("comments", ""),
        branch=texts.get("branch") or None,
        revision=texts.get("revision") or None,
        revlink=texts.get("revlink") or None,
        when_us=None if when is None else round(when * 1_000_000),
        category=texts.get("category") or None,
        repository=texts.get("repository", ""),
        codebase=texts.get("codebase", ""),
        project=texts.get("project", ""),
        committer=texts.get("committer") or None,
        files=files,
        properties={name: (value, SOURCE) for name, value in properties.items()},
        identity=identity,
    )


def _is_time(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= _LATEST


async def source_of(
    given: Mapping[str, Any], sources: Sequence[PBChangeSource], secrets: SecretSource
) -> PBChangeSource | None:
    """The source whose user and password were sent, None if none were; raises Refused for wrong ones."""
    user, password = given.get("username"), given.get("passwd")
    if user is None and password is None:
        return None
    for source in sources:
        if await source.admits(str(user), str(password), secrets):
            return source
    raise Refused({"passwd": "no PBChangeSource of the configuration has this user with this password"})
