"""What a configuration imports: ``from buildwright.plugins import schedulers, steps, util, worker``.

Each name is a namespace whose parts are imported when they are first asked for, from the one table below; so
a configuration pays for what it uses. A name that doesn't exist is an AttributeError that names the nearest
one.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from buildwright.model.errors import suggest

__all__ = ["changes", "schedulers", "secrets", "steps", "util", "worker"]

_FORCE: Final = "buildwright.schedulers.force"
_RENDER: Final = "buildwright.model.render"
_RESULTS: Final = "buildwright.model.results"

TABLE: Final[dict[str, dict[str, str]]] = {
    "changes": {
        "GitPoller": "buildwright.changes.gitpoller",
    },
    "schedulers": {
        "AnyBranchScheduler": "buildwright.schedulers.basic",
        "Dependent": "buildwright.schedulers.dependent",
        "ForceScheduler": _FORCE,
        "Nightly": "buildwright.schedulers.timed",
        "Periodic": "buildwright.schedulers.timed",
        "SingleBranchScheduler": "buildwright.schedulers.basic",
        "Triggerable": "buildwright.schedulers.triggerable",
    },
    "secrets": {
        "SecretInAFile": "buildwright.model.secrets",
    },
    "steps": {
        "BuildStep": "buildwright.builds.step",
        "FileDownload": "buildwright.steps.transfer",
        "FileUpload": "buildwright.steps.transfer",
        "Git": "buildwright.steps.git",
        "MasterShellCommand": "buildwright.steps.master",
        "SetPropertyFromCommand": "buildwright.steps.setproperty",
        "ShellCommand": "buildwright.steps.shell",
        "Trigger": "buildwright.steps.trigger",
    },
    "util": {
        "BooleanParameter": _FORCE,
        "BuildFactory": "buildwright.model.builders",
        "BuilderConfig": "buildwright.model.builders",
        "CANCELLED": _RESULTS,
        "ChangeFilter": "buildwright.model.filters",
        "ChoiceStringParameter": _FORCE,
        "CodebaseParameter": _FORCE,
        "EXCEPTION": _RESULTS,
        "FAILURE": _RESULTS,
        "FixedParameter": _FORCE,
        "FlattenList": _RENDER,
        "IntParameter": _FORCE,
        "Interpolate": _RENDER,
        "LogLineObserver": "buildwright.builds.observers",
        "MasterLock": "buildwright.model.locks",
        "NestedParameter": _FORCE,
        "Property": _RENDER,
        "RETRY": _RESULTS,
        "Results": _RESULTS,
        "SKIPPED": _RESULTS,
        "SUCCESS": _RESULTS,
        "Secret": _RENDER,
        "StringParameter": _FORCE,
        "TextParameter": _FORCE,
        "Transform": _RENDER,
        "UserNameParameter": _FORCE,
        "WARNINGS": _RESULTS,
        "WithProperties": _RENDER,
        "WorkerLock": "buildwright.model.locks",
        "renderer": _RENDER,
    },
    "worker": {
        "LocalWorker": "buildwright.model.workers",
        "Worker": "buildwright.model.workers",
    },
}


class NoSuchName(AttributeError):
    """A name that a namespace doesn't have; ``hint`` says which one may be meant."""

    def __init__(self, namespace: str, name: str, obj: object) -> None:
        near = suggest(name, TABLE[namespace])
        elsewhere = next((other for other, names in TABLE.items() if name in names), None)
        self.hint = f"it is {elsewhere}.{name}" if elsewhere is not None else near
        super().__init__(f"buildwright.plugins.{namespace} has no {name!r}", name=name, obj=obj)


class Namespace:
    """One of the namespaces: its attributes are the table's names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = TABLE[self._name].get(name)
        if module is None:
            raise NoSuchName(self._name, name, self)
        value = getattr(importlib.import_module(module), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted(TABLE[self._name])

    def __repr__(self) -> str:
        return f"<namespace buildwright.plugins.{self._name}>"


changes = Namespace("changes")
schedulers = Namespace("schedulers")
secrets = Namespace("secrets")
steps = Namespace("steps")
util = Namespace("util")
worker = Namespace("worker")


def lookup(name: str) -> Any:
    """Whatever has this name in any namespace, or None."""
    for namespace in (steps, schedulers, util, worker, changes, secrets):
        if name in dir(namespace):
            return getattr(namespace, name)
    return None
