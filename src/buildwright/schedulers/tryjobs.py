"""Try jobs: a difference that somebody wants to see built, as it comes in over the API or in a job directory.

A file of a job directory is a row of netstrings. The first is the version of the format. In versions 1 to 4
each of the others is one field: job id, branch, base revision, patch level and patch; since version 2
repository and project, since version 3 who asks, since version 4 a comment; what follows are names of
builders. Version 5 has one more netstring, a JSON object of all fields, which can carry properties, too; in
version 6 the patch in it is base64, so that it may be of any bytes. Here both are taken, under either name.

A mapping (of the API, of version 5) is checked field by field, and everything that is wrong is told at once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from buildwright.model.properties import json_problem

_POSITIONAL = ("jobid", "branch", "baserev", "patch_level", "patch_body")
_SINCE = {1: (), 2: ("repository", "project"), 3: ("who",), 4: ("comment",)}
_TEXTS = ("jobid", "branch", "baserev", "repository", "project", "codebase", "who", "comment")
FIELDS = (*_TEXTS, "patch_level", "patch_body", "patch_body_base64", "builderNames", "properties")
HIGHEST_LEVEL = 100


class BadJob(ValueError):
    """A job that can't be taken; ``problems`` says why, by field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in problems.items()))


@dataclass(frozen=True, slots=True)
class TryJob:
    """What somebody wants to see built. Empty texts stand for what was left out."""

    jobid: str = ""
    branch: str = ""
    baserev: str = ""
    patch_level: int = 0
    patch_body: bytes = b""
    repository: str = ""
    project: str = ""
    codebase: str | None = None  # None: it is to be found out
    who: str = ""
    comment: str = ""
    builder_names: Sequence[str] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


def job_of(given: Mapping[str, Any], *, is_base64: bool = False) -> TryJob:
    """The job of a mapping; raises BadJob. ``is_base64``: ``patch_body`` is, too."""
    problems: dict[str, str] = {}
    for name in sorted(set(given) - set(FIELDS)):
        problems[name] = f"a try job has no such field; it has {', '.join(FIELDS)}"
    texts: dict[str, Any] = {}
    for name in _TEXTS:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or "\0" in value or json_problem(value):
            problems[name] = "it must be text without NUL"
        else:
            texts[name] = value
    level = given.get("patch_level") or 0
    if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= HIGHEST_LEVEL:
        problems["patch_level"] = f"it must be a whole number of 0 to {HIGHEST_LEVEL}"
    builders = given.get("builderNames") or ()
    if not isinstance(builders, list | tuple) or not all(isinstance(name, str) for name in builders):
        problems["builderNames"] = "it must be a list of names"
    properties = given.get("properties") or {}
    if not isinstance(properties, dict):
        problems["properties"] = "it must be a mapping of names to values"
    elif problem := json_problem(properties):
        problems["properties"] = problem
    body = _patch(given, problems, is_base64=is_base64)
    if problems:
        raise BadJob(problems)
    return TryJob(
        **texts, patch_level=level, patch_body=body, builder_names=tuple(builders), properties=properties
    )


def _patch(given: Mapping[str, Any], problems: dict[str, str], *, is_base64: bool) -> bytes:
    name = "patch_body_base64" if given.get("patch_body_base64") else "patch_body"
    body = given.get(name) or ""
    if not isinstance(body, str):
        problems[name] = "it must be text"
        return b""
    if name == "patch_body_base64" or is_base64:
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as problem:
            problems[name] = f"it is no base64: {problem}"
            return b""
    return body.encode("utf-8", "surrogatepass")


def job_of_file(content: bytes) -> TryJob:
    """The job of a file of a job directory; raises BadJob."""
    words = _netstrings(content)
    version = words[0].decode("ascii", "replace") if words else ""
    if version in ("5", "6"):
        if len(words) != 2:
            raise BadJob({"": f"version {version} has one netstring after the version, not {len(words) - 1}"})
        try:
            given = msgspec.json.decode(words[1], type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise BadJob({"": f"its JSON can't be read: {problem}"}) from None
        return job_of(given, is_base64=version == "6")
    if version not in ("1", "2", "3", "4"):
        raise BadJob({"": f"its version is {version[:20]!r}, and 1 to 6 are known"})
    names = [*_POSITIONAL]
    for since, more in _SINCE.items():
        if since <= int(version):
            names += more
    rest = words[1:]
    if len(rest) < len(names):
        raise BadJob({"": f"version {version} has at least {len(names) + 1} netstrings, not {len(words)}"})
    given = {
        name: word.decode("utf-8", "replace")
        for name, word in zip(names, rest, strict=False)
        if name != "patch_body"
    }
    try:
        given["patch_level"] = int(given["patch_level"])
    except ValueError:
        raise BadJob({"patch_level": "it must be a whole number"}) from None
    given["builderNames"] = [word.decode("utf-8", "replace") for word in rest[len(names) :]]
    given["patch_body_base64"] = base64.b64encode(rest[names.index("patch_body")]).decode()
    return job_of(given)


def file_of_job(job: TryJob) -> bytes:
    """The content of a job directory's file, of version 6."""
    given = {
        **{name: getattr(job, name) for name in _TEXTS if name != "codebase"},
        "patch_level": job.patch_level,
        "patch_body": base64.b64encode(job.patch_body).decode(),
        "builderNames": list(job.builder_names),
        "properties": dict(job.properties),
    }
    if job.codebase is not None:
        given["codebase"] = job.codebase
    return _netstring(b"6") + _netstring(msgspec.json.encode(given))


def _netstring(content: bytes) -> bytes:
    return b"%d:%s," % (len(content), content)


def _netstrings(content: bytes) -> list[bytes]:
    words: list[bytes] = []
    at = 0
    while at < len(content):
        colon = content.find(b":", at, at + 12)
        digits = content[at:colon]
        if colon < 0 or not digits.isdigit():
            raise BadJob({"": f"it is no row of netstrings: at byte {at} there is no length"})
        end = colon + 1 + int(digits)
        if content[end : end + 1] != b",":
            raise BadJob({"": f"it is no row of netstrings: the one at byte {at} has no end"})
        words.append(content[colon + 1 : end])
        at = end + 1
    return words
