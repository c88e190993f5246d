"""What a configuration imports: ``from buildwright.plugins import schedulers, steps, util, worker``.

Each name is a namespace whose parts are imported when they are first asked for, from the one table below; so
a configuration pays for what it uses. A name that doesn't exist is an AttributeError that names the nearest
one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from buildwright.model.errors import suggest

__all__ = ["changes", "schedulers", "secrets", "steps", "util", "worker"]

_PARAMETERS: Final = "buildwright.schedulers.parameters"
_RENDER: Final = "buildwright.model.render"
_RESULTS: Final = "buildwright.model.results"

TABLE: Final[dict[str, dict[str, str]]] = {
    "changes": {
        "GitPoller": "buildwright.changes.gitpoller",
    },
    "schedulers": {
        "AnyBranchScheduler": "buildwright.schedulers.basic",
        "Dependent": "buildwright.schedulers.dependent",
        "ForceScheduler": "buildwright.schedulers.force",
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
        "CompositeStepMixin": "buildwright.steps.composite",
        "Configure": "buildwright.steps.shell",
        "CopyDirectory": "buildwright.steps.files",
        "FileDownload": "buildwright.steps.transfer",
        "FileExists": "buildwright.steps.files",
        "FileUpload": "buildwright.steps.transfer",
        "Git": "buildwright.steps.git",
        "JSONStringDownload": "buildwright.steps.transfer",
        "MakeDirectory": "buildwright.steps.files",
        "MasterShellCommand": "buildwright.steps.master",
        "RemoveDirectory": "buildwright.steps.files",
        "SetProperties": "buildwright.steps.setproperty",
        "SetProperty": "buildwright.steps.setproperty",
        "SetPropertyFromCommand": "buildwright.steps.setproperty",
        "ShellCommand": "buildwright.steps.shell",
        "ShellMixin": "buildwright.builds.shell",
        "StringDownload": "buildwright.steps.transfer",
        "Trigger": "buildwright.steps.trigger",
    },
    "util": {
        "AnyPropertyParameter": _PARAMETERS,
        "BaseParameter": _PARAMETERS,
        "BufferLogObserver": "buildwright.builds.observers",
        "BooleanParameter": _PARAMETERS,
        "BuildFactory": "buildwright.model.builders",
        "BuilderConfig": "buildwright.model.builders",
        "CANCELLED": _RESULTS,
        "ChangeFilter": "buildwright.model.filters",
        "ChoiceStringParameter": _PARAMETERS,
        "CodebaseParameter": _PARAMETERS,
        "EXCEPTION": _RESULTS,
        "FAILURE": _RESULTS,
        "FileParameter": _PARAMETERS,
        "FixedParameter": _PARAMETERS,
        "FlattenList": _RENDER,
        "IntParameter": _PARAMETERS,
        "Interpolate": _RENDER,
        "LogLineObserver": "buildwright.builds.observers",
        "LogObserver": "buildwright.builds.observers",
        "MasterLock": "buildwright.model.locks",
        "NestedParameter": _PARAMETERS,
        "ParameterGroup": _PARAMETERS,
        "PatchParameter": _PARAMETERS,
        "Property": _RENDER,
        "RETRY": _RESULTS,
        "RemoteCommand": "buildwright.builds.commands",
        "Results": _RESULTS,
        "SKIPPED": _RESULTS,
        "SUCCESS": _RESULTS,
        "Secret": _RENDER,
        "StringParameter": _PARAMETERS,
        "TextParameter": _PARAMETERS,
        "Transform": _RENDER,
        "UserNameParameter": _PARAMETERS,
        "WARNINGS": _RESULTS,
        "WithProperties": _RENDER,
        "WorkerChoiceParameter": _PARAMETERS,
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


if TYPE_CHECKING:  # what the table gives, for type checkers and editors; a test compares the two

    class changes:  # noqa: N801 - a namespace
        from buildwright.changes.gitpoller import GitPoller

    class schedulers:  # noqa: N801 - a namespace
        from buildwright.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
        from buildwright.schedulers.dependent import Dependent
        from buildwright.schedulers.force import ForceScheduler
        from buildwright.schedulers.timed import Nightly, Periodic
        from buildwright.schedulers.triggerable import Triggerable

    class secrets:  # noqa: N801 - a namespace
        from buildwright.model.secrets import SecretInAFile

    class steps:  # noqa: N801 - a namespace
        from buildwright.builds.shell import ShellMixin
        from buildwright.builds.step import BuildStep
        from buildwright.steps.composite import CompositeStepMixin
        from buildwright.steps.files import CopyDirectory, FileExists, MakeDirectory, RemoveDirectory
        from buildwright.steps.git import Git
        from buildwright.steps.master import MasterShellCommand
        from buildwright.steps.setproperty import SetProperties, SetProperty, SetPropertyFromCommand
        from buildwright.steps.shell import Configure, ShellCommand
        from buildwright.steps.transfer import FileDownload, FileUpload, JSONStringDownload, StringDownload
        from buildwright.steps.trigger import Trigger

    class util:  # noqa: N801 - a namespace
        from buildwright.builds.commands import RemoteCommand
        from buildwright.builds.observers import BufferLogObserver, LogLineObserver, LogObserver
        from buildwright.model.builders import BuilderConfig, BuildFactory
        from buildwright.model.filters import ChangeFilter
        from buildwright.model.locks import MasterLock, WorkerLock
        from buildwright.model.render import (
            FlattenList,
            Interpolate,
            Property,
            Secret,
            Transform,
            WithProperties,
            renderer,
        )
        from buildwright.model.results import (
            CANCELLED,
            EXCEPTION,
            FAILURE,
            RETRY,
            SKIPPED,
            SUCCESS,
            WARNINGS,
            Results,
        )
        from buildwright.schedulers.parameters import (
            AnyPropertyParameter,
            BaseParameter,
            BooleanParameter,
            ChoiceStringParameter,
            CodebaseParameter,
            FileParameter,
            FixedParameter,
            IntParameter,
            NestedParameter,
            ParameterGroup,
            PatchParameter,
            StringParameter,
            TextParameter,
            UserNameParameter,
            WorkerChoiceParameter,
        )

    class worker:  # noqa: N801 - a namespace
        from buildwright.model.workers import LocalWorker, Worker

else:
    changes = Namespace("changes")
    schedulers = Namespace("schedulers")
    secrets = Namespace("secrets")
    steps = Namespace("steps")
    util = Namespace("util")
    worker = Namespace("worker")
