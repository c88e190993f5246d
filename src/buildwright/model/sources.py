"""Where a build's sources come from: source stamps, and the changes that led to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildwright.model.properties import Properties

REBUILD_FROM = "rebuild_from"
"""The property of a build that goes on from where another one has failed: its buildid and workername."""
REBUILD_SOURCE = "Rebuild"
"""The source of that property; under any other it means nothing."""


@dataclass(slots=True)
class Change:
    """A change of a repository, as filters and users' callables see it."""

    number: int | None = None
    who: str = ""
    files: list[str] = field(default_factory=list)
    comments: str = ""
    branch: str | None = None
    revision: str | None = None
    revlink: str | None = None
    category: str | None = None
    when: float = 0.0  # seconds since the epoch, as users' callables know it
    repository: str = ""
    project: str = ""
    codebase: str = ""
    properties: Properties = field(default_factory=Properties)
    committer: str | None = None

    @property
    def author(self) -> str:
        """Another name of ``who``."""
        return self.who

    @property
    def changeid(self) -> int | None:
        """Another name of ``number``."""
        return self.number

    def asDict(self) -> dict[str, Any]:
        """The change as plain data, under the names of the data API."""
        return {
            "number": self.number,
            "who": self.who,
            "files": [{"name": name} for name in self.files],
            "comments": self.comments,
            "branch": self.branch,
            "rev": self.revision,
            "revision": self.revision,
            "revlink": self.revlink,
            "category": self.category,
            "when": self.when,
            "repository": self.repository,
            "project": self.project,
            "codebase": self.codebase,
            "properties": [
                (name, value, source) for name, (value, source) in self.properties.asDict().items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Patch:
    """A difference to apply on top of a revision."""

    level: int
    body: bytes
    subdir: str = ""
    author: str = ""
    comment: str = ""


@dataclass(slots=True)
class SourceStamp:
    """What one codebase of a build is built from."""

    ssid: int | None = None
    branch: str | None = None
    revision: str | None = None
    repository: str = ""
    project: str = ""
    codebase: str = ""
    patch: Patch | None = None
    changes: Sequence[Change] = ()

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> SourceStamp:
        """A source stamp from the names that schedulers and the data API use; unknown names are left out."""
        names = ("ssid", "branch", "revision", "repository", "project", "codebase", "patch", "changes")
        return cls(**{name: row[name] for name in names if row.get(name) is not None})

    def asDict(self) -> dict[str, Any]:
        """The source stamp as plain data: what ``%(src:codebase:name)s`` can name."""
        return {
            "ssid": self.ssid,
            "branch": self.branch,
            "revision": self.revision,
            "repository": self.repository,
            "project": self.project,
            "codebase": self.codebase,
            "patch": self.patch,
            "hasPatch": self.patch is not None,
            "changes": [change.asDict() for change in self.changes],
        }
