"""Load a configuration: run its file once, check everything, and give an immutable snapshot or all errors at
once.

:func:`load` belongs off the event loop (``await asyncio.to_thread(load, ...)``). Nothing of it touches the
running configuration: its modules are imported afresh (`imports`), its errors are collected in a context of
their own, and when it fails, everything is as it was. When the file raises, what it had put into
BuildmasterConfig by then is checked all the same, and what is wrong with it is told beside the exception.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from buildwright.config import checks
from buildwright.config.context import Context
from buildwright.config.faults import as_errors
from buildwright.config.imports import MAIN, Generation, ImportHook, loading
from buildwright.config.keys import check_keys
from buildwright.config.places import Places
from buildwright.model.errors import Collector, ConfigError, ConfigErrors, collected, collecting, shown
from buildwright.model.fingerprint import digest
from buildwright.model.snapshot import Snapshot, WorkerEndpoint, WwwConfig


def load(path: Path, basedir: Path, hooks: Sequence[ImportHook] = ()) -> Snapshot:
    """The configuration in a file; raises ConfigErrors with everything that is wrong with it.

    ``basedir`` is what relative paths of the configuration mean. ``hooks`` give modules to names of other
    worlds.
    """
    path, basedir = path.absolute(), basedir.absolute()
    generation = Generation([path.parent, basedir], hooks)
    collector = Collector(root=generation.roots, basedir=basedir)
    token = collecting(collector)
    try:
        with _quiet_collector(), loading(generation):
            snapshot = _load(path, basedir, generation, collector)
            if snapshot is None or collector.errors:
                raise ConfigErrors(_in_order(collector.errors, path), collector.warnings)
            return snapshot
    finally:
        collected(token)


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """A load makes many objects and drops few: looking for garbage in between only costs time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _in_order(errors: Sequence[ConfigError], main: Path) -> list[ConfigError]:
    """By place, the configuration file first; each once."""
    unique = list(dict.fromkeys(errors))
    return sorted(unique, key=lambda each: (each.file != str(main), each.file or "", each.line or 0))


def _load(path: Path, basedir: Path, generation: Generation, collector: Collector) -> Snapshot | None:
    try:
        source = path.read_bytes()
    except OSError as problem:
        collector.errors.append(
            ConfigError(f"the configuration can't be read: {problem.strerror}", str(path))
        )
        return None
    whole = True
    try:
        generation.run_main(path, source, {"basedir": str(basedir)})
    except (Exception, SystemExit) as problem:
        collector.errors.extend(as_errors(problem, generation.roots, str(path)))
        whole = False
    names = vars(generation.modules[MAIN]) if MAIN in generation.modules else {}
    config = names.get("BuildmasterConfig")
    if not isinstance(config, dict):
        if whole:
            message = (
                f"BuildmasterConfig must be a dict, not {shown(config)}"
                if "BuildmasterConfig" in names
                else "the file doesn't define BuildmasterConfig"
            )
            hint = "it begins with: c = BuildmasterConfig = {}"
            collector.errors.append(ConfigError(message, str(path), 1, hint))
        return None
    context = Context(basedir, Places(path, generation.files))
    if whole:
        whole = _configure(config, context, generation, collector, path)
    return _freeze(config, context, generation, collector, path, whole=whole)


def _configure(
    config: dict[Any, Any], context: Context, generation: Generation, collector: Collector, path: Path
) -> bool:
    """Let the configurators change the dict before it is looked at."""
    configurators = config.get("configurators")
    if configurators is None or not context.wanted(configurators, (list, tuple), "a list", "configurators"):
        return True
    for at, each in enumerate(configurators):
        configure = getattr(each, "configure", None)
        if not callable(configure):
            context.error(f"c['configurators'][{at}] has no method 'configure'", "configurators", at)
            continue
        try:
            configure(config)
        except Exception as problem:
            collector.errors.extend(as_errors(problem, generation.roots, str(path)))
            return False
    return True


def _freeze(
    config: Mapping[Any, Any],
    context: Context,
    generation: Generation,
    collector: Collector,
    path: Path,
    *,
    whole: bool,
) -> Snapshot | None:
    found = check_keys(config, context, path.name)
    workers = checks.check_workers(config, context)
    builders = checks.check_builders(config, context)
    schedulers = checks.check_schedulers(config, context)
    sources = checks.check_change_sources(config, context)
    services = checks.check_services(config, context)
    projects = checks.check_projects(config, context)
    codebases = checks.check_codebases(config, context)
    multi_master = found.get("multi_master", False)
    checks.check_references(builders, workers, schedulers, context, whole=whole, multi_master=multi_master)
    if builders and not multi_master:
        checks.check_named_builders(services, builders, context)
    checks.offer_workers(schedulers, builders)
    locks = checks.check_locks(builders, workers, context)
    if whole:
        checks.check_project_names(builders, projects, codebases, context)
        www, protocols = found.get("www", WwwConfig()), found.get("protocols", WorkerEndpoint())
        checks.check_ways_in(workers, www, protocols, context)
    if collector.errors or not whole:
        return None
    content = {
        **found,
        "builders": builders,
        "workers": workers,
        "schedulers": schedulers,
        "change_sources": sources,
        "projects": projects,
        "codebases": codebases,
        "services": services,
    }
    return Snapshot(
        basedir=context.basedir,
        filename=str(path),
        builders=MappingProxyType(builders),
        workers=MappingProxyType(workers),
        schedulers=MappingProxyType(schedulers),
        change_sources=MappingProxyType(sources),
        services=MappingProxyType(services),
        locks=MappingProxyType(locks),
        projects=MappingProxyType(projects),
        codebases=MappingProxyType(codebases),
        fingerprint=digest(content),
        sources=tuple(dict.fromkeys(generation.files)),
        warnings=tuple(_in_order(collector.warnings, path)),
        **found,
    )
