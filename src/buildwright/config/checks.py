"""What builders, workers, schedulers and change sources must be to each other.

Each name stands for one thing; builders name workers that exist, schedulers name builders that exist, every
builder is started by something, one lock has one definition, and workers have a way to connect. A
configuration that broke off in the middle is checked as far as it came: what is only missing then is not
reported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildwright.config.context import Context, key_text
from buildwright.model.builders import BuilderConfig, StepSpec
from buildwright.model.errors import Where, error, shown, suggest
from buildwright.model.locks import LockAccess
from buildwright.model.projects import Codebase, Project
from buildwright.model.render import is_renderable
from buildwright.model.services import Service
from buildwright.model.snapshot import WorkerEndpoint, WwwConfig
from buildwright.model.text import storable
from buildwright.model.workers import LocalWorker, WorkerConfig

_BUILDER_ARGUMENTS = frozenset(inspect.signature(BuilderConfig).parameters)


def _items(config: Mapping[Any, Any], key: str, context: Context, *, single: bool = False) -> Sequence[Any]:
    given = config.get(key)
    if given is None:
        return ()
    if single and not isinstance(given, (list, tuple)):
        return (given,)
    return given if context.wanted(given, (list, tuple), "a list", key) else ()


def _unique(kind: str, key: str, named: Iterable[tuple[str, Any]], context: Context) -> dict[str, Any]:
    """The objects by their names; a name's second owner is reported at its place, and left out."""
    found: dict[str, Any] = {}
    for name, each in named:
        _storable(kind, name, context.at(_where(each), key))
        if name in found:
            first = _where(found[name])
            error(
                f"there are two {kind}s named {name!r}",
                f"the first is at {first.file}:{first.line}" if first is not None else "rename one of them",
                context.at(_where(each), key),
            )
        else:
            found[name] = each
    return found


def _storable(kind: str, name: str, where: Where | None) -> None:
    """Report a name by which the store couldn't give its row back."""
    if storable(name) != name:
        error(
            f"{kind} {name!r}: its name has a character that can't be stored",
            "leave out NUL and bytes that are no UTF-8",
            where,
        )


def _where(made: Any) -> Where | None:
    where = getattr(made, "where", None)
    return where if isinstance(where, Where) else None


def check_builders(config: Mapping[Any, Any], context: Context) -> dict[str, BuilderConfig]:
    """The builders by name; their directories on the workers are unique too."""
    good: list[BuilderConfig] = []
    for at, given in enumerate(_items(config, "builders", context)):
        if isinstance(given, BuilderConfig):
            good.append(given)
        elif isinstance(given, dict):
            made = _from_dict(given, at, context)
            if made is not None:
                good.append(made)
        else:
            path = ("builders", at)
            message = f"{key_text(*path)} must be a BuilderConfig, not {shown(given)}"
            context.error(message, *path, hint="as in util.BuilderConfig(name=..., workernames=[...], ...)")
    builders: dict[str, BuilderConfig] = _unique(
        "builder", "builders", ((each.name, each) for each in good if each.name), context
    )
    directories: dict[str, BuilderConfig] = {}
    for builder in builders.values():
        other = directories.setdefault(builder.builddir, builder)
        if other is not builder:
            error(
                f"builders {other.name!r} and {builder.name!r} have the same builddir {builder.builddir!r}",
                "give one of them another builddir",
                context.at(builder.where, "builders"),
            )
    return builders


def _from_dict(given: dict[Any, Any], at: int, context: Context) -> BuilderConfig | None:
    where = context.places.at("builders", at)
    unknown = [key for key in given if key not in _BUILDER_ARGUMENTS]
    for key in unknown:
        error(
            f"builder {given.get('name')!r} has no argument {key!r}",
            suggest(key, _BUILDER_ARGUMENTS),
            context.places.at("builders", at, key),
        )
    made = BuilderConfig(**{key: value for key, value in given.items() if key not in unknown})
    made.where = where
    return made


def check_workers(config: Mapping[Any, Any], context: Context) -> dict[str, WorkerConfig]:
    """The workers by name."""
    good = []
    for at, given in enumerate(_items(config, "workers", context)):
        if isinstance(given, WorkerConfig):
            good.append(given)
        else:
            context.error(
                f"{key_text('workers', at)} must be a worker, not {shown(given)}",
                "workers",
                at,
                hint="as in worker.Worker('name', 'password')",
            )
    named = ((each.name, each) for each in good if each.name)
    return _unique("worker", "workers", named, context)


def check_schedulers(config: Mapping[Any, Any], context: Context) -> dict[str, Any]:
    """The schedulers by name."""
    given = _items(config, "schedulers", context)
    if not given:
        return {}
    from buildwright.schedulers.base import Scheduler

    return _named("scheduler", "schedulers", given, Scheduler, context)


def check_change_sources(config: Mapping[Any, Any], context: Context) -> dict[str, Any]:
    """The change sources by name; one alone needs no list."""
    given = _items(config, "change_source", context, single=True)
    if not given:
        return {}
    from buildwright.changes.base import ChangeSource

    return _named("change source", "change_source", given, ChangeSource, context)


def check_services(config: Mapping[Any, Any], context: Context) -> dict[str, Service]:
    """The services by name."""
    return _named("service", "services", _items(config, "services", context), Service, context)


def check_named_builders(
    services: Mapping[str, Service], builders: Mapping[str, BuilderConfig], context: Context
) -> None:
    """Builders that services name exist."""
    for service in services.values():
        for name in service.builder_names:
            if name not in builders:
                error(
                    f"service {service.name!r} has the unknown builder {name!r}",
                    suggest(name, builders) or "add it to c['builders']",
                    context.at(service.where, "services"),
                )


def _named(kind: str, key: str, given: Sequence[Any], cls: type[Any], context: Context) -> dict[str, Any]:
    good = []
    for at, each in enumerate(given):
        if isinstance(each, cls):
            good.append(each)
        else:
            message = f"{key_text(key, at)} must be a {kind}, not {shown(each)}"
            module = {"change_source": "changes", "services": "util"}.get(key, key)
            context.error(message, key, at, hint=f"it is made with a class of `{module}`")
    return _unique(kind, key, ((each.name, each) for each in good), context)


def check_projects(config: Mapping[Any, Any], context: Context) -> dict[str, Project]:
    """The projects by name."""
    good = _made(config, "projects", Project, "as in util.Project(name='...')", context)
    return _unique("project", "projects", ((each.name, each) for each in good if each.name), context)


def check_codebases(config: Mapping[Any, Any], context: Context) -> dict[tuple[str, str], Codebase]:
    """The codebases by project and name."""
    good = _made(config, "codebases", Codebase, "as in util.Codebase(name='...', project='...')", context)
    by_text = _unique(
        "codebase",
        "codebases",
        ((f"{each.project}/{each.name}", each) for each in good if each.project and each.name),
        context,
    )
    return {(each.project, each.name): each for each in by_text.values()}


def _made(config: Mapping[Any, Any], key: str, cls: type[Any], hint: str, context: Context) -> list[Any]:
    """The objects of a list that are of its class; others are reported."""
    good = []
    for at, given in enumerate(_items(config, key, context)):
        if isinstance(given, cls):
            good.append(given)
        else:
            message = f"{key_text(key, at)} must be a {cls.__name__}, not {shown(given)}"
            context.error(message, key, at, hint=hint)
    return good


def check_project_names(
    builders: Mapping[str, BuilderConfig],
    projects: Mapping[str, Project],
    codebases: Mapping[tuple[str, str], Codebase],
    context: Context,
) -> None:
    """Builders and codebases belong to projects that exist."""
    for builder in builders.values():
        if isinstance(builder.project, str) and builder.project not in projects:
            error(
                f"builder {builder.name!r} has the unknown project {builder.project!r}",
                suggest(builder.project, projects) or "add it to c['projects']",
                context.at(builder.where, "builders"),
            )
    for codebase in codebases.values():
        if codebase.project and codebase.project not in projects:
            error(
                f"codebase {codebase.name!r} has the unknown project {codebase.project!r}",
                suggest(codebase.project, projects) or "add it to c['projects']",
                context.at(codebase.where, "codebases"),
            )


def check_references(
    builders: Mapping[str, BuilderConfig],
    workers: Mapping[str, WorkerConfig],
    schedulers: Mapping[str, Any],
    context: Context,
    *,
    whole: bool,
    multi_master: bool,
) -> None:
    """Builders' workers and schedulers' builders exist. A configuration of several masters has the others'
    parts too.
    """
    if multi_master:
        return
    if workers or whole:
        for builder in builders.values():
            for name in builder.workernames:
                if name not in workers:
                    error(
                        f"builder {builder.name!r} has the unknown worker {name!r}",
                        suggest(name, workers) or "add it to c['workers']",
                        context.at(builder.where, "builders"),
                    )
    if builders or whole:
        for scheduler in schedulers.values():
            for name in _plain_names(scheduler.builderNames):
                if name not in builders:
                    error(
                        f"scheduler {scheduler.name!r} has the unknown builder {name!r}",
                        suggest(name, builders) or "add it to c['builders']",
                        context.at(_where(scheduler), "schedulers"),
                    )
    if not whole:
        return
    if not workers:
        context.error("no workers are configured", "workers", hint="add one to c['workers']")
    if not builders:
        context.error("no builders are configured", "builders", hint="add one to c['builders']")
    _check_driven(builders, schedulers, context)


def offer_workers(schedulers: Mapping[str, Any], builders: Mapping[str, BuilderConfig]) -> None:
    """Let forms choose among the workers of their builders."""
    for scheduler in schedulers.values():
        offer = getattr(scheduler, "offer_workers", None)
        if offer is not None:
            names = [name for name in _plain_names(scheduler.builderNames) if name in builders]
            offer(sorted({worker for name in names for worker in builders[name].workernames}))


def _plain_names(names: Any) -> list[str]:
    if is_renderable(names) or not isinstance(names, (list, tuple)):
        return []
    return [name for name in names if isinstance(name, str)]


def _check_driven(
    builders: Mapping[str, BuilderConfig], schedulers: Mapping[str, Any], context: Context
) -> None:
    driven: set[str] = set()
    for scheduler in schedulers.values():
        names = scheduler.builderNames
        if is_renderable(names) or any(is_renderable(name) for name in names):
            return  # known only when it fires
        driven.update(names)
    for builder in builders.values():
        if builder.name not in driven:
            error(
                f"builder {builder.name!r} is started by no scheduler",
                "name it in a scheduler's builderNames; a ForceScheduler will do",
                context.at(builder.where, "builders"),
            )


def check_locks(
    builders: Mapping[str, BuilderConfig], workers: Mapping[str, WorkerConfig], context: Context
) -> dict[str, Any]:
    """The locks of builders, workers and steps by name; locks of one name agree."""
    found: dict[str, Any] = {}
    first_at: dict[str, Where] = {}
    seen: set[int] = set()

    def look(accesses: Any, where: Where | None, key: str) -> None:
        if not isinstance(accesses, (list, tuple)):
            return  # renderable: known only for a build
        for access in accesses:
            if not isinstance(access, LockAccess) or id(access.lock) in seen:
                continue
            seen.add(id(access.lock))
            lock = access.lock
            known = found.setdefault(lock.name, lock)
            place = context.at(where, key)
            _storable("lock", lock.name, place)
            first = first_at.setdefault(lock.name, place)
            if known is not lock and (type(known) is not type(lock) or known != lock):
                error(
                    f"there are two different locks named {lock.name!r}",
                    f"the other is used at {first.file}:{first.line}; use one lock in both places",
                    place,
                )

    for worker in workers.values():
        look(worker.locks, worker.where, "workers")
    specs: dict[int, StepSpec] = {}
    for builder in builders.values():
        look(builder.locks, builder.where, "builders")
        specs.update((id(spec), spec) for spec in builder.factory.steps)
    for spec in specs.values():
        if "locks" in spec.kwargs:
            look(spec.kwargs["locks"], spec.where, "builders")
    return found


def check_ways_in(
    workers: Mapping[str, WorkerConfig], www: WwwConfig, protocols: WorkerEndpoint, context: Context
) -> None:
    """Workers that connect have somewhere to connect to."""
    remote = next((each for each in workers.values() if not isinstance(each, LocalWorker)), None)
    if remote is not None and www.port is None and protocols.port is None:
        error(
            f"worker {remote.name!r} has nowhere to connect to",
            "give c['www'] = {'port': 8010}, or c['protocols'] = {'buildwright': {'port': 9989}}",
            context.at(remote.where, "workers"),
        )
