"""What a build would do, as far as it can be known before: its properties, and its steps' commands.

Steps are made from their recipes and rendered with the properties that the build would begin with, by the
shipped code. What only a worker, a master or an earlier step finds out is shown by its name in angle brackets
(``<got_revision>``, ``<buildnumber>``), and the step says what it depends on. A renderer that can't work
with that is named instead of its value.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from buildwright.builds.build import Build, BuildBuilder, BuildWorker
from buildwright.builds.shell import ShellMixin, flat_command
from buildwright.builds.step import BuildStep
from buildwright.config.probing import commands_of, makes_its_commands
from buildwright.model.builders import BuilderConfig, StepSpec
from buildwright.model.errors import Where
from buildwright.model.precedence import build_properties
from buildwright.model.properties import Properties
from buildwright.model.render import is_plain, is_renderable, render, settle
from buildwright.model.snapshot import Snapshot
from buildwright.model.sources import Change, SourceStamp
from buildwright.model.workers import Worker, WorkerConfig
from buildwright.steps.master import MasterShellCommand
from buildwright.steps.setproperty import (
    SetProperties,
    SetPropertiesFromEnv,
    SetProperty,
    SetPropertyFromCommand,
)
from buildwright.steps.source import Source
from buildwright.steps.trigger import Trigger

_AT_THE_WORKER = ("basedir", "builddir")
_NUMBERS = ("buildnumber", "builderid", "projectid")


class Foreseen(Properties):
    """Properties some of which are known by name only; ``asked`` are those of them that somebody wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.later: dict[str, str] = {}  # name -> who finds it out
        self.asked: dict[str, str] = {}

    def getProperty(self, name: str, default: Any = None) -> Any:
        if name in self.later:
            self.asked[name] = self.later[name]
            return f"<{name}>"
        return super().getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        return name in self.later or super().hasProperty(name)

    has_key = hasProperty
    __contains__ = hasProperty

    def __getitem__(self, name: str) -> Any:
        return self.getProperty(name) if name in self.later else super().__getitem__(name)


@dataclass(slots=True)
class ForeseenStep:
    """A step. ``runs`` is False if its doStepIf says so, None if that isn't known."""

    name: str
    kind: str
    does: str
    runs: bool | None
    depends: list[str] = field(default_factory=list)
    where: Where | None = None


@dataclass(slots=True)
class ForeseenBuild:
    """A build of one builder."""

    builder: BuilderConfig
    properties: dict[str, tuple[Any, str]]
    stamps: Sequence[Mapping[str, Any]]
    steps: list[ForeseenStep]


async def foresee(
    snapshot: Snapshot,
    builder: BuilderConfig,
    asked: Properties,
    stamps: Sequence[Mapping[str, Any]],
    changes: Sequence[Change] = (),
) -> ForeseenBuild:
    """What a build of the builder would be for a buildset."""
    worker = _worker(snapshot, builder)
    sources = [
        SourceStamp.from_mapping(
            {**stamp, "changes": [each for each in changes if each.codebase == stamp.get("codebase", "")]}
        )
        for stamp in stamps
    ]
    props = Foreseen()
    begun = build_properties(
        general=snapshot.properties,
        changes=[change.properties for change in changes],
        request=asked,
        builder=builder,
        builderid=0,
        worker=worker,
        number=0,
        stamps=sources,
    )
    for name in (*_NUMBERS, *_AT_THE_WORKER):
        begun.properties.pop(name, None)
        props.later[name] = "the worker" if name in _AT_THE_WORKER else "the master"
    if len(builder.workernames) > 1:
        begun.properties.pop("workername", None)
        props.later["workername"] = "the master"
    props.updateFromProperties(begun)
    props.secret_source = _secret
    props.build = build = _build(builder, worker, props, sources)
    known = props.asDict()
    steps = [await _step(spec, build, props) for spec in builder.factory.steps]
    _tell_apart(steps)
    return ForeseenBuild(builder, known, stamps, steps)


def _worker(snapshot: Snapshot, builder: BuilderConfig) -> WorkerConfig:
    found = [snapshot.workers[name] for name in builder.workernames if name in snapshot.workers]
    return found[0] if found else Worker("nobody", "a password")


async def _secret(name: str) -> str:
    return f"<secret {name}>"


def _build(
    builder: BuilderConfig, worker: WorkerConfig, props: Properties, sources: Sequence[SourceStamp]
) -> Build:
    return Build(
        buildid=0,
        number=0,
        attempt=1,
        requestid=0,
        buildsetid=0,
        reason="",
        builder=BuildBuilder(0, builder),
        worker=BuildWorker(0, worker, {}),
        properties=props,
        sources=sources,
        runner=cast("Any", None),
    )


def _tell_apart(steps: Sequence[ForeseenStep]) -> None:
    """Give steps of one name different ones, as a build does."""
    seen: set[str] = set()
    for step in steps:
        base, count = step.name, 0
        while step.name in seen:
            count += 1
            step.name = f"{base}_{count}"
        seen.add(step.name)


async def _step(spec: StepSpec, build: Build, props: Foreseen) -> ForeseenStep:
    """What a step would do; afterwards ``props`` are what it leaves to the next one."""
    step: BuildStep = spec.instantiate()
    step.build, step.worker = build, build.worker
    props.asked = {}
    name = await _rendered(step.name, props)
    runs = await _decided(step, props)
    does = await _does(step, spec, props)
    depends = [f"{each} ({who})" for each, who in props.asked.items()]
    if runs is not False:
        await _leave(step, props)
    return ForeseenStep(str(name), spec.cls.__name__, does, runs, depends, spec.where)


async def _decided(step: BuildStep, props: Foreseen) -> bool | None:
    condition = step.doStepIf
    if isinstance(condition, bool):
        return condition
    before, props.asked = props.asked, {}
    try:
        if callable(condition) and not is_renderable(condition):
            value = await settle(condition(step))
        else:
            value = await render(condition, props)
    except Exception:
        value = None  # it needs what there is only in a build
    unsure = value is None or bool(props.asked)
    props.asked = {**before, **props.asked}
    return None if unsure else bool(value)


async def _does(step: BuildStep, spec: StepSpec, props: Foreseen) -> str:
    """What it does, in a line; several commands in as many."""
    if isinstance(step, ShellMixin | MasterShellCommand) and step.command is not None:
        text = _line(await _rendered(step.command, props))
        return f"on the master: {text}" if isinstance(step, MasterShellCommand) else text
    if isinstance(step, Source):
        return await _gets(step, props)
    if makes_its_commands(step):
        for name in step.all_renderables():
            setattr(step, name, await _rendered(getattr(step, name), props))
        if commands := await commands_of(step):
            return "\n".join(map(_line, commands))
    if isinstance(step, Trigger):
        names = await _rendered(step.schedulerNames, props)
        waits = " and waits" if step.waitForFinish else ""
        return f"triggers {', '.join(names) if isinstance(names, list | tuple) else names}{waits}"
    own = {name: value for name, value in spec.kwargs.items() if name not in BuildStep.parms}
    shown = [await _argument(value, props) for value in spec.args]
    shown += [f"{name}={await _argument(value, props)}" for name, value in own.items()]
    return f"{spec.cls.__name__}({', '.join(shown)})"


async def _gets(step: Source, props: Foreseen) -> str:
    repository = await _rendered(getattr(step, "repourl", getattr(step, "baseURL", "")), props)
    stamp = step.build.getSourceStamp(step.codebase)
    branch = await _rendered(step.branch, props)
    if stamp is None and not step.alwaysUseLatest:
        return f"gets {repository}: the build has no source stamp of codebase {step.codebase!r}, so it fails"
    if stamp is not None and not step.alwaysUseLatest:
        branch = stamp.revision or stamp.branch or branch
    mode = await _rendered(step.mode, props)
    return f"gets {branch or 'the latest'} of {repository or 'its repository'} ({mode})"


async def _leave(step: BuildStep, props: Foreseen) -> None:
    """Note the properties that a step sets, with their values as far as they are known."""
    who = f"step {step.name}" if isinstance(step.name, str) else f"step {type(step).__name__}"
    if isinstance(step, SetProperty):
        await _set(props, {step.property: step.value}, who)
    elif isinstance(step, SetProperties):
        values = step.properties
        if isinstance(values, Mapping):
            await _set(props, values, who)
    elif isinstance(step, SetPropertiesFromEnv):
        props.later.update(dict.fromkeys(step.variables, "the worker"))
    elif isinstance(step, SetPropertyFromCommand):
        if isinstance(step.property, str):
            props.later[step.property] = who
    elif isinstance(step, Source):
        props.later["got_revision"] = who


async def _set(props: Foreseen, values: Mapping[Any, Any], who: str) -> None:
    for key, value in values.items():
        name = await _rendered(key, props)
        props.asked = {}
        try:
            rendered = await render(value, props)
            unsure = bool(props.asked)
            if not unsure:
                props.setProperty(str(name), rendered, who)
        except Exception:
            unsure = True
        if unsure:
            props.later[str(name)] = who
        else:
            props.later.pop(str(name), None)


async def _rendered(value: Any, props: Foreseen) -> Any:
    """The value; a renderer that fails is named."""
    if is_plain(value):
        return value
    try:
        return await render(value, props)
    except Exception as problem:
        if isinstance(value, list | tuple):
            return [await _rendered(each, props) for each in value]
        name = getattr(value, "__name__", type(value).__name__)
        props.asked.setdefault(f"{name}, which needs the build", type(problem).__name__)
        return f"<{name}>"


async def _argument(value: Any, props: Foreseen) -> str:
    rendered = await _rendered(value, props)
    text = repr(rendered)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _line(command: Any) -> str:
    flat = flat_command(command)
    words = [flat] if isinstance(flat, str | bytes) else flat
    texts = [word if isinstance(word, str) else word.decode("utf-8", "replace") for word in words]
    return texts[0] if isinstance(flat, str | bytes) else " ".join(map(_word, texts))


def _word(text: str) -> str:
    """As a shell takes it, but for the marks of what isn't known."""
    return text if text.startswith("<") and text.endswith(">") else shlex.quote(text)
