"""A whole configuration as the master understands it, as plain data: what is there, from which line, who uses
whom, and what looks forgotten.

Values are shown as they were given: renderables by what they are made of, functions by their names.
Passwords and secrets aren't shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from buildwright.config.outlook import waits_for
from buildwright.model.builders import BuilderConfig, StepSpec
from buildwright.model.errors import Where
from buildwright.model.locks import LockAccess
from buildwright.model.properties import Properties
from buildwright.model.render import is_plain
from buildwright.model.snapshot import Snapshot
from buildwright.model.workers import LocalWorker
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.basic import ChangeFollower
from buildwright.schedulers.dependent import Dependent
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.triggerable import Triggered
from buildwright.steps.trigger import Trigger

Data = dict[str, Any]

LONGEST = 200
_UNSAID = {"nextWorker", "nextBuild", "canStartBuild", "do_build_if", "collapseRequests"}


def explain(snapshot: Snapshot) -> Data:
    """The configuration: builders with their steps, workers, schedulers, change sources, services, locks,
    remarks.
    """
    starters = _starters(snapshot)
    return {
        "file": snapshot.filename,
        "title": snapshot.title,
        "builders": [_builder(each, starters.get(each.name, [])) for each in snapshot.builders.values()],
        "workers": [_worker(snapshot, name) for name in snapshot.workers],
        "schedulers": [_scheduler(each) for each in snapshot.schedulers.values()],
        "change_sources": [_other(each) for each in snapshot.change_sources.values()],
        "services": [_other(each) for each in snapshot.services.values()],
        "locks": _locks(snapshot),
        "properties": _properties(snapshot.properties),
        "remarks": list(_remarks(snapshot, starters)),
    }


def shown(value: Any) -> str:
    """A value as it was given, in one line."""
    text = _text(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _text(value: Any) -> str:
    if isinstance(value, LockAccess):
        return f"{value.lock.name} ({value.mode})"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(each)}" for key, each in value.items()) + "}"
    if callable(value) and hasattr(value, "__name__"):
        name = value.__name__
        return "a lambda" if name == "<lambda>" else str(name)
    text = repr(value)
    return type(value).__name__ if " object at 0x" in text else text


def _place(where: Where | None) -> Data:
    return {"file": where.file if where else None, "line": where.line if where else None}


def _properties(properties: Properties) -> Data:
    return {name: value for name, (value, _) in properties.items()}


# -- builders ----------------------------------------------------------------------------------------------


def _builder(builder: BuilderConfig, starters: list[str]) -> Data:
    extra = {name: shown(getattr(builder, name)) for name in _UNSAID if getattr(builder, name) is not None}
    return {
        "name": builder.name,
        **_place(builder.where),
        "description": builder.description,
        "tags": list(builder.tags),
        "project": builder.project,
        "workers": list(builder.workernames),
        "started_by": starters,
        "locks": shown(builder.locks) if builder.locks else None,
        "properties": _properties(builder.properties),
        "default_properties": _properties(builder.defaultProperties),
        "env": {name: shown(value) for name, value in builder.env.items()},
        "builddir": builder.builddir,
        "workerbuilddir": builder.workerbuilddir,
        "functions": dict(sorted(extra.items())),
        "steps": [_step(spec) for spec in builder.factory.steps],
    }


def _step(spec: StepSpec) -> Data:
    name = spec.kwargs.get("name", getattr(spec.cls, "name", None))
    arguments = {f"argument {place + 1}": shown(value) for place, value in enumerate(spec.args)}
    arguments |= {key: shown(value) for key, value in spec.kwargs.items() if key != "name"}
    return {
        "name": name if isinstance(name, str) else shown(name),
        "type": spec.cls.__name__,
        "module": spec.cls.__module__,
        **_place(spec.where),
        "arguments": arguments,
    }


def _starters(snapshot: Snapshot) -> dict[str, list[str]]:
    """The names of the schedulers that may start each builder; those that say it only when they fire are
    marked so.
    """
    found: dict[str, list[str]] = {}
    for scheduler in snapshot.schedulers.values():
        names = scheduler.builder_names
        if names is None:
            plain = scheduler.builderNames if isinstance(scheduler.builderNames, list) else []
            for name in snapshot.builders:
                if name not in plain:
                    found.setdefault(name, []).append(f"perhaps {scheduler.name}")
            names = [name for name in plain if isinstance(name, str)]
        for name in names:
            found.setdefault(name, []).append(scheduler.name)
    return found


# -- the others --------------------------------------------------------------------------------------------


def _worker(snapshot: Snapshot, name: str) -> Data:
    worker = snapshot.workers[name]
    return {
        "name": name,
        "type": type(worker).__name__,
        **_place(worker.where),
        "builders": [each.name for each in snapshot.builders.values() if name in each.workernames],
        "max_builds": worker.max_builds,
        "locks": shown(worker.locks) if worker.locks else None,
        "properties": {
            key: value for key, value in _properties(worker.properties).items() if key != "workername"
        },
    }


def _scheduler(scheduler: Scheduler) -> Data:
    filtered = scheduler.change_filter.criteria if isinstance(scheduler, ChangeFollower) else {}
    return {
        "name": scheduler.name,
        "type": type(scheduler).__name__,
        **_place(scheduler.where),
        "builders": scheduler.builder_names
        if scheduler.builder_names is not None
        else shown(scheduler.builderNames),
        "when": _when(scheduler),
        "filter": {name: shown(value) for name, value in filtered.items()},
        "codebases": {name: dict(entry) for name, entry in scheduler.codebases.items()},
        "properties": {name: shown(value) for name, value in scheduler.properties.items()},
    }


def _when(scheduler: Scheduler) -> str:
    if isinstance(scheduler, Dependent):
        return f"follows {scheduler.upstream_name}"
    pause = getattr(scheduler, "treeStableTimer", None)
    if pause:
        return f"waits for changes, until none has come for {pause:g} s"
    return waits_for(scheduler)


def _other(each: Any) -> Data:
    return {"name": each.name, "type": type(each).__name__, **_place(each.where)}


def _locks(snapshot: Snapshot) -> list[Data]:
    users: dict[str, list[str]] = {}

    def note(accesses: Any, who: str) -> None:
        for access in accesses if isinstance(accesses, list | tuple) else ():
            if isinstance(access, LockAccess):
                users.setdefault(access.lock.name, []).append(f"{who} ({access.mode})")

    for builder in snapshot.builders.values():
        note(builder.locks, builder.name)
        for spec in builder.factory.steps:
            note(spec.kwargs.get("locks"), f"{builder.name}: {_step(spec)['name']}")
    for worker in snapshot.workers.values():
        note(worker.locks, f"worker {worker.name}")
    return [
        {
            "name": name,
            "type": type(lock).__name__,
            "at_once": lock.maxCount,
            "used_by": users.get(name, []),
        }
        for name, lock in snapshot.locks.items()
    ]


# -- remarks -----------------------------------------------------------------------------------------------


def _remarks(snapshot: Snapshot, starters: Mapping[str, list[str]]) -> Iterable[Data]:
    """What works and looks forgotten."""
    forms = {each.name for each in snapshot.schedulers.values() if isinstance(each, ForceScheduler)}
    for builder in snapshot.builders.values():
        by = starters.get(builder.name, [])
        if not by:
            yield _remark(f"builder {builder.name!r} is started by no scheduler", builder.where)
        elif all(name.startswith("perhaps ") for name in by):
            text = f"builder {builder.name!r} is started only if {by[0].removeprefix('perhaps ')} names it"
            yield _remark(text, builder.where)
        elif set(by) <= forms:
            yield _remark(f"builder {builder.name!r} is started by people only", builder.where)
        if not builder.factory.steps:
            yield _remark(f"builder {builder.name!r} has no steps", builder.where)
        counts = Counter(str(_step(spec)["name"]) for spec in builder.factory.steps if "name" in spec.kwargs)
        for name, count in counts.items():
            if count > 1:
                text = f"builder {builder.name!r} has {count} steps named {name!r}: they get numbers"
                yield _remark(text, builder.where)
    for worker in snapshot.workers.values():
        if not any(worker.name in each.workernames for each in snapshot.builders.values()):
            yield _remark(f"no builder uses worker {worker.name!r}", worker.where)
    triggered = _triggered(snapshot)
    for scheduler in snapshot.schedulers.values():
        if isinstance(scheduler, Triggered) and triggered is not None and scheduler.name not in triggered:
            yield _remark(f"no step triggers scheduler {scheduler.name!r}", scheduler.where)
        if isinstance(scheduler, Dependent) and scheduler.upstream_name not in snapshot.schedulers:
            text = f"scheduler {scheduler.name!r} follows {scheduler.upstream_name!r}, which isn't configured"
            yield _remark(text, scheduler.where)
    following = [each for each in snapshot.schedulers.values() if each.wishes.changes]
    if following and not snapshot.change_sources:
        text = f"scheduler {following[0].name!r} waits for changes, and there is no change source"
        yield _remark(text, following[0].where)
    if any(isinstance(each, LocalWorker) for each in snapshot.workers.values()) and snapshot.www.port is None:
        first = next(each for each in snapshot.workers.values() if isinstance(each, LocalWorker))
        yield _remark(f"local worker {first.name!r} needs a port to connect to", first.where)


def _remark(text: str, where: Where | None) -> Data:
    return {"message": text, **_place(where)}


def _triggered(snapshot: Snapshot) -> set[str] | None:
    """The schedulers that steps trigger; None if that is known only when they run."""
    found: set[str] = set()
    for builder in snapshot.builders.values():
        for spec in builder.factory.steps:
            if not issubclass(spec.cls, Trigger):
                continue
            names = spec.kwargs.get("schedulerNames", spec.args[0] if spec.args else None)
            if not is_plain(names) or not isinstance(names, str | list | tuple):
                return None
            found.update([names] if isinstance(names, str) else names)
    return found
