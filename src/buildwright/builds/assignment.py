"""What a runner is given: a claimed build, and what the store knows of one that is to be gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from buildwright.model.builders import BuilderConfig
from buildwright.model.sources import SourceStamp
from buildwright.model.workers import WorkerConfig
from buildwright.store.units.attach import Entry, LogRow, OpenBuild, StepRow
from buildwright.store.units.claims import Waiting


@dataclass(slots=True)
class Resumed:
    """What the store knows of a build to go on with."""

    build: OpenBuild
    steps: Sequence[StepRow]
    journal: Sequence[Entry] = ()
    logs: Sequence[LogRow] = ()


@dataclass(slots=True)
class Assignment:
    """A claimed build: what it is, for whom, on which worker."""

    buildid: int
    number: int
    attempt: int
    request: Waiting
    stamps: Sequence[SourceStamp]
    builderid: int
    builder: BuilderConfig
    worker: WorkerConfig
    holds_locks: bool
    resumed: Resumed | None = None


def steps_fingerprint(builder: BuilderConfig) -> str:
    """What a build stores of its steps' configuration."""
    return json.dumps([spec.fingerprint() for spec in builder.factory.steps], separators=(",", ":"))
