"""Builders as a configuration names them: which workers, which steps, with which properties.

A step object of a configuration is a recipe. Constructing one records a :class:`StepSpec` (class, arguments,
place); the factory keeps only that, and each build makes its own step from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from buildwright.model.arguments import Checked
from buildwright.model.errors import Where, caller_location, error, expect, location, shown
from buildwright.model.fingerprint import digest
from buildwright.model.properties import Properties
from buildwright.model.workers import checked_locks, checked_properties

__all__ = ["BuildFactory", "BuilderConfig", "StepSpec", "caller_location", "safe_name"]

_UNSAFE = str.maketrans(dict.fromkeys("\t !#$%&'()*+,./:;<=>?@[\\]^{|}~", "_"))


def safe_name(name: str) -> str:
    """A builder's name as one of a directory."""
    return name.translate(_UNSAFE)


class StepSpec:
    """The recipe of a step: what a build makes its own step from."""

    __slots__ = ("_fingerprint", "args", "cls", "kwargs", "where")

    def __init__(
        self, cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: Where | None = None
    ) -> None:
        self.cls = cls
        self.args = args
        self.kwargs = kwargs
        self.where = where
        self._fingerprint: str | None = None

    def instantiate(self) -> Any:
        """A step of its own for one build."""
        return self.cls(*self.args, **self.kwargs)

    def set_arg(self, name: str, value: Any) -> None:
        """Change a keyword argument for the builds to come."""
        self.kwargs[name] = value
        self._fingerprint = None

    def fingerprint(self) -> str:
        """What tells this recipe from a changed one, the same in every process that loads the same
        configuration.
        """
        if self._fingerprint is None:
            self._fingerprint = digest(self)
        return self._fingerprint

    def __repr__(self) -> str:
        return f"<StepSpec {self.cls.__name__}>"


class BuildFactory(metaclass=Checked):
    """The steps of a build, in their order."""

    buildClass: Any = None
    useProgress = True
    workdir: str | Callable[[Any], str] = "build"

    def __init__(self, steps: Iterable[Any] | None = None) -> None:
        self.steps: list[StepSpec] = []
        if steps is not None:
            if isinstance(steps, (list, tuple)) or not hasattr(steps, "_spec"):
                self.addSteps(steps)
            else:
                error("BuildFactory: steps must be a list of steps", "write BuildFactory([step])")

    def addStep(self, step: Any) -> None:
        """Append a step."""
        spec = step if isinstance(step, StepSpec) else getattr(step, "_spec", None)
        if isinstance(spec, StepSpec):
            self.steps.append(spec)
        elif isinstance(step, type):
            error(f"addStep takes a step, not the class {step.__name__}", f"write {step.__name__}(...)")
        else:
            error(f"addStep takes a step, not {shown(step)}")

    def addSteps(self, steps: Iterable[Any]) -> None:
        """Append several steps."""
        for step in steps:
            self.addStep(step)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.steps)} steps>"


class BuilderConfig:
    """A builder: where its builds run and what they do.

    Example::

        c["builders"].append(
            util.BuilderConfig(
                name="release",
                workernames=["linux"],
                factory=factory,
                tags=["release"],
                env={"CHANNEL": "stable"},
                properties={"package": True},
                collapseRequests=False,
            )
        )
    """

    def __init__(
        self,
        name: str | None = None,
        workername: str | None = None,
        workernames: str | Sequence[str] | None = None,
        builddir: str | None = None,
        workerbuilddir: str | None = None,
        factory: BuildFactory | None = None,
        tags: Sequence[str] | None = None,
        nextWorker: Callable[..., Any] | None = None,
        nextBuild: Callable[..., Any] | None = None,
        locks: Any = None,
        env: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        collapseRequests: bool | Callable[..., Any] | None = None,
        description: str | None = None,
        description_format: str | None = None,
        canStartBuild: Callable[..., Any] | None = None,
        defaultProperties: Mapping[str, Any] | None = None,
        project: str | None = None,
        do_build_if: Callable[..., Any] | None = None,
    ) -> None:
        self.where: Where | None = location(self)
        self.name: str = self._named(name)
        kind = f"builder {self.name!r}"
        self.workernames: list[str] = self._workers(workername, workernames, kind)
        self.factory: BuildFactory = _factory(factory, kind)
        self.builddir: str = safe_name(self.name)
        if builddir is not None and expect(builddir, str, f"{kind}: builddir", "text"):
            self.builddir = builddir
        self.workerbuilddir: str = self.builddir
        if workerbuilddir is not None and expect(workerbuilddir, str, f"{kind}: workerbuilddir", "text"):
            self.workerbuilddir = workerbuilddir
        self.tags: list[str] = _tags(tags, kind)
        self.nextWorker = _callable(nextWorker, f"{kind}: nextWorker")
        self.nextBuild = _callable(nextBuild, f"{kind}: nextBuild")
        self.canStartBuild = _callable(canStartBuild, f"{kind}: canStartBuild")
        self.do_build_if = _callable(do_build_if, f"{kind}: do_build_if")
        self.collapseRequests: bool | Callable[..., Any] | None = (
            collapseRequests
            if isinstance(collapseRequests, bool)
            else _callable(collapseRequests, f"{kind}: collapseRequests", "True, False or a function")
        )
        self.locks: Any = checked_locks(locks, f"{kind}: locks")
        self.env: dict[str, Any] = dict(env) if isinstance(env, Mapping) else {}
        if env is not None:
            expect(env, Mapping, f"{kind}: env", "a dict")
        self.properties: Properties = checked_properties(properties, "Builder", f"{kind}: properties")
        self.defaultProperties: Properties = checked_properties(
            defaultProperties, "Builder", f"{kind}: defaultProperties"
        )
        self.description = description
        if description is not None:
            expect(description, str, f"{kind}: description", "text")
        self.description_format = description_format
        if description_format not in (None, "markdown"):
            error(f"{kind}: description_format must be None or 'markdown', not {shown(description_format)}")
        self.project = project
        if project is not None:
            expect(project, str, f"{kind}: project", "a project's name")

    @staticmethod
    def _named(name: Any) -> str:
        if not isinstance(name, str) or not name:
            if name:
                error(f"a builder's name must be text, not {shown(name)}", "as in name='tests'")
            else:
                error("a builder has no name", "as in name='tests'")
            return ""
        if name.startswith("_") and name != "__Janitor":
            error(f"builder {name!r}: names that begin with '_' are reserved")
        return name

    @staticmethod
    def _workers(workername: Any, workernames: Any, kind: str) -> list[str]:
        names: list[Any] = []
        if isinstance(workernames, str):
            names = [workernames]
        elif workernames is not None:
            if not expect(workernames, (list, tuple), f"{kind}: workernames", "a list of names"):
                return []
            names = list(workernames)
        if workername is not None:
            if names:
                error(f"{kind} has both workername and workernames", "give one of them")
            names.append(workername)
        if not names:
            error(f"{kind} has no worker", "give it workernames=['...']")
        return [name for name in names if expect(name, str, f"{kind}: a worker's name", "text")]

    def __repr__(self) -> str:
        return f"<BuilderConfig {self.name!r}>"


def _factory(value: Any, kind: str) -> BuildFactory:
    if isinstance(value, BuildFactory):
        return value
    if value is None:
        error(f"{kind} has no factory", "give it factory=util.BuildFactory([...])")
    else:
        hint = "give it factory=util.BuildFactory([...])"
        error(f"{kind}: the factory must be a BuildFactory, not {shown(value)}", hint)
    return BuildFactory()


def _callable(value: Any, what: str, wanted: str = "a function") -> Any:
    if value is not None and not callable(value):
        error(f"{what} must be {wanted}, not {shown(value)}", f"give it {wanted}")
        return None
    return value


def _tags(value: Any, kind: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(tag, str) for tag in value):
        error(f"{kind}: tags must be a list of texts, not {shown(value)}", "as in tags=['nightly']")
        return []
    tags = list(value)
    if len(set(tags)) != len(tags):
        twice = next(tag for tag in tags if tags.count(tag) > 1)
        error(f"{kind}: the tag {twice!r} is given twice")
    return tags
