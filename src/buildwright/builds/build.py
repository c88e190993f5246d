"""A build as steps and users' callables see it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildwright.model.builders import BuilderConfig
from buildwright.model.properties import Properties
from buildwright.model.render import renderer
from buildwright.model.sources import Change, SourceStamp
from buildwright.model.workers import WorkerConfig

if TYPE_CHECKING:
    from buildwright.builds.runner import BuildRunner
    from buildwright.builds.step import BuildStep


class BuildBuilder:
    """The builder of a build: its name, id and configuration."""

    def __init__(self, builderid: int, config: BuilderConfig) -> None:
        self.builderid = builderid
        self.name = config.name
        self.config = config

    async def getBuilderId(self) -> int:
        return self.builderid


class BuildWorker:
    """The worker of a build."""

    def __init__(self, workerid: int, config: WorkerConfig, info: Mapping[str, Any]) -> None:
        self.workerid = workerid
        self.name = self.workername = config.name
        self.properties = config.properties
        self.info = info

    @property
    def worker_basedir(self) -> str:
        return str(self.info.get("basedir", ""))

    @property
    def worker_system(self) -> str:
        return str(self.info.get("system", "posix"))

    @property
    def worker_environ(self) -> Mapping[str, str]:
        environ: Mapping[str, str] = self.info.get("environ", {})
        return environ


class Build:
    """One attempt to do what a request asks for.

    ``results`` is the build's result so far, ``executedSteps`` what has run or runs.
    """

    def __init__(
        self,
        *,
        buildid: int,
        number: int,
        attempt: int,
        requestid: int,
        buildsetid: int,
        reason: str,
        builder: BuildBuilder,
        worker: BuildWorker,
        properties: Properties,
        sources: Sequence[SourceStamp],
        runner: BuildRunner,
    ) -> None:
        self.buildid = buildid
        self.number = number
        self.attempt = attempt
        self.requestid = requestid
        self.buildsetid = buildsetid
        self.reason = reason
        self.builder = builder
        self.worker = worker
        self.properties = properties
        self.sources = list(sources)
        self.env = builder.config.env
        self.results: int | None = None
        self.executedSteps: list[BuildStep] = []
        self.currentStep: BuildStep | None = None
        self.stopped = False
        self.runner = runner

    # -- properties ---------------------------------------------------------------------------------------

    def getProperties(self) -> Properties:
        return self.properties

    def getProperty(self, name: str, default: Any = None) -> Any:
        return self.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        return self.properties.hasProperty(name)

    def setProperty(self, name: str, value: Any, source: str, runtime: bool = True) -> None:
        self.properties.setProperty(name, value, source, runtime)

    async def render(self, value: Any) -> Any:
        return await self.properties.render(value)

    def getSummaryStatistic(
        self, name: str, summary_fn: Callable[[Any, Any], Any], initial_value: Any = None
    ) -> Any:
        """A statistic of all steps so far, put together: ``summary_fn(total, next)``, step by step. It begins
        with ``initial_value``, or with the first step's value; None if no step has it.
        """
        total = initial_value
        for step in self.executedSteps:
            if step.hasStatistic(name):
                value = step.getStatistic(name)
                total = value if total is None else summary_fn(total, value)
        return total

    # -- where it comes from ------------------------------------------------------------------------------

    def getNumber(self) -> int:
        return self.number

    def getReason(self) -> str:
        return self.reason

    def getWorkerName(self) -> str:
        return self.worker.name

    async def getUrl(self) -> str:
        """The address of the build's page."""
        base = self.runner.services.snapshot.buildbot_url
        return f"{base}#/builders/{self.builder.builderid}/builds/{self.number}"

    def getSourceStamp(self, codebase: str = "") -> SourceStamp | None:
        """The source stamp of a codebase; None if the build has none of it."""
        return next((source for source in self.sources if source.codebase == codebase), None)

    def getAllSourceStamps(self) -> list[SourceStamp]:
        return list(self.sources)

    def allChanges(self) -> list[Change]:
        return [change for source in self.sources for change in source.changes]

    def allFiles(self) -> list[str]:
        return [file for change in self.allChanges() for file in change.files]

    # -- where it runs ------------------------------------------------------------------------------------

    @property
    def builddir(self) -> str:
        """The builder's directory at the worker, relative to the worker's."""
        return self.builder.config.workerbuilddir

    @property
    def workdir(self) -> str:
        """The default directory of its steps, relative to ``builddir``."""
        workdir = self.builder.config.factory.workdir
        return workdir(self.sources) if callable(workdir) else workdir

    def path(self, *parts: str) -> str:
        """A path at the worker, of parts relative to ``builddir``; an absolute part, or one that begins with
        ``~``, stands for itself.
        """
        path = self.builddir
        for part in parts:
            path = part if part.startswith("~") else posixpath.join(path, part)
        return posixpath.normpath(path)

    # -- its steps ----------------------------------------------------------------------------------------

    def addStepsAfterCurrentStep(self, steps: Sequence[Any]) -> None:
        """Have these steps run right after the current one."""
        self.runner.add_steps(steps, after_current=True)

    def addStepsAfterLastStep(self, steps: Sequence[Any]) -> None:
        """Have these steps run after all that the build has so far."""
        self.runner.add_steps(steps, after_current=False)


async def _url_for_build(props: Properties) -> str:
    """The address of the page of the build that is rendered for.

    Example::

        factory.addStep(
            steps.POST("https://chat.example.org/hooks/ci", json={"text": "built", "link": util.URLForBuild})
        )
    """
    url: str = await props.getBuild().getUrl()
    return url


URLForBuild = renderer(_url_for_build)
