"""Properties of the build: given, or found out by a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, expect, shown
from buildwright.model.properties import json_problem
from buildwright.model.render import IRenderable
from buildwright.model.renderable import is_plain, settle
from buildwright.model.results import FAILURE, SUCCESS


class SetProperty(BuildStep):
    """Sets one property.

    Example::

        factory.addStep(
            steps.SetProperty(property="label", value=util.Interpolate("build-%(prop:buildnumber)s"))
        )
    """

    name = "SetProperty"
    renderables: ClassVar[Sequence[str]] = ("property", "value")

    def __init__(self, property: str | IRenderable, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.property: Any = property
        if is_plain(value) and (problem := json_problem(value)):
            error(
                f"step {type(self).__name__}: value: {problem}",
                "text, a number, True, False, None, lists, dicts",
            )
        self.value = value

    async def run(self) -> int:
        self.setProperty(self.property, self.value, "SetProperty Step")
        return SUCCESS

    def getResultSummary(self) -> dict[str, str]:
        return self._with_result("Set")


class SetProperties(BuildStep):
    """Sets several properties: a dict, or something that renders to one.

    Example::

        factory.addStep(
            steps.SetProperties({"channel": "nightly", "label": util.Interpolate("n%(prop:buildnumber)s")})
        )
    """

    name = "SetProperties"
    renderables: ClassVar[Sequence[str]] = ("properties",)

    def __init__(self, properties: Mapping[str, Any] | IRenderable | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.properties: Any = properties

    async def run(self) -> int:
        for name, value in (self.properties or {}).items():
            self.setProperty(name, value, self.name)
        return SUCCESS

    def getResultSummary(self) -> dict[str, str]:
        return self._with_result("Properties Set")


class SetPropertiesFromEnv(BuildStep):
    """Makes properties of the worker's environment variables: of each of ``variables`` that it has.

    The worker's environment is the one that its process was started with. On a Windows worker the case of the
    names doesn't matter.

    Example::

        factory.addStep(steps.SetPropertiesFromEnv(variables=["HOME", "PROCESSOR_ARCHITECTURE"]))
    """

    name = "SetPropertiesFromEnv"
    description = ("Setting",)
    descriptionDone = ("Set",)

    def __init__(self, variables: Any, source: str = "WorkerEnvironment", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variables = [variables] if isinstance(variables, str) else variables
        self.source = source
        what = f"step {type(self).__name__}: variables"
        if expect(self.variables, (list, tuple), what, "a list of names"):
            for name in self.variables:
                expect(name, str, what, "a list of names")
        expect(source, str, f"step {type(self).__name__}: source", "text")

    async def run(self) -> int:
        any_case = self.worker.worker_system == "nt"
        environ = {
            name.upper() if any_case else name: value for name, value in self.worker.worker_environ.items()
        }
        lines = []
        for name in self.variables:
            value = environ.get(name.upper() if any_case else name)
            if value is not None:
                self.setProperty(name, value, self.source)
                lines.append(f"{name} = {value!r}\n")
        self.addCompleteLog("properties", "".join(lines))
        return SUCCESS


class SetPropertyFromCommand(ShellMixin, BuildStep):
    """Runs a command and makes properties of what it prints.

    ``property`` gets the output (``strip``: without white space around it) if the command succeeds. Or
    ``extract_fn(rc, stdout, stderr)``, called in any case, gives a dict of properties.

    Example::

        factory.addStep(
            steps.SetPropertyFromCommand(command=["git", "describe", "--tags"], property="version")
        )
    """

    name = "setproperty"
    renderables: ClassVar[Sequence[str]] = ("property",)

    def __init__(
        self,
        property: str | IRenderable | None = None,
        extract_fn: Any = None,
        strip: bool = True,
        includeStdout: bool = True,
        includeStderr: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        self.property: Any = property
        self.extract_fn: Callable[[int, str, str], Any] | None = extract_fn
        self.strip = strip
        self.includeStdout = includeStdout
        self.includeStderr = includeStderr
        self._changed: dict[str, Any] = {}
        kind = f"step {type(self).__name__}"
        if (property is None) == (extract_fn is None):
            error(f"{kind} needs either property or extract_fn")
        if extract_fn is not None and not callable(extract_fn):
            error(f"{kind}: extract_fn must be a function, not {shown(extract_fn)}")
        if self.command is None:
            error(f"{kind} has no command", "give it command='...' or command=[...]")

    async def run(self) -> int:
        everything = self.extract_fn is not None
        command = await self.makeRemoteShellCommand(
            collectStdout=everything or self.includeStdout, collectStderr=everything or self.includeStderr
        )
        await self.runCommand(command)
        if command.interrupted:
            return command.results()
        if self.extract_fn is not None:
            made = await settle(self.extract_fn(command.rc or 0, command.stdout, command.stderr))
            if made is not None and not isinstance(made, Mapping):
                raise TypeError(f"extract_fn must give a dict of properties, not {shown(made)}")
            self._change(made or {})
        elif command.didFail():
            return FAILURE
        else:
            text = command.stdout + command.stderr
            self._change({self.property: text.strip() if self.strip else text})
        return command.results()

    def _change(self, made: Mapping[str, Any]) -> None:
        for name, value in made.items():
            self.setProperty(name, value, "SetPropertyFromCommand Step")
            self._changed[name] = value
        if self._changed:
            lines = [f"{name}: {value!r}\n" for name, value in sorted(self._changed.items())]
            self.addCompleteLog("property changes", "".join(lines))

    def getResultSummary(self) -> dict[str, str]:
        if len(self._changed) == 1:
            return self._with_result(f"property '{next(iter(self._changed))}' set")
        if self._changed:
            return self._with_result(f"{len(self._changed)} properties set")
        return super().getResultSummary()
