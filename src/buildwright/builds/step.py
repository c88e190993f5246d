"""Build steps: what a configuration names, and what one's own steps are made of.

A step is configured by constructing it: that records class and arguments, from which each build makes a
step of its own. In a build its renderable attributes are rendered, ``doStepIf`` is asked, its locks are
taken, and ``run`` runs::

    class Census(ShellMixin, BuildStep):
        name = "census"

        def __init__(self, **kwargs):
            kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command"])
            super().__init__(**kwargs)

        async def run(self):
            cmd = await self.makeRemoteShellCommand(command="ls | wc -l", collectStdout=True)
            await self.runCommand(cmd)
            self.setProperty("files", int(cmd.stdout), "census")
            return cmd.results()

``run`` may be run again from its beginning when another master takes the build over: its commands are
answered from the journal then, so it goes on where it was. That works for whatever is decided by the step's
arguments, the build's properties and the outcomes of its commands. Work on the master belongs into
:meth:`BuildStep.once`. A step that awaits something else can't be gone on with; set ``restartable`` if
starting it from its beginning is as good.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from buildwright.builds.done import DONE, Done
from buildwright.builds.encodings import Encoding, encoding_problem
from buildwright.builds.observers import LogObserver
from buildwright.model.arguments import Checked, expect_fit
from buildwright.model.builders import StepSpec
from buildwright.model.errors import error, is_collecting, location, suggest
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_plain
from buildwright.model.results import SUCCESS, Results
from buildwright.model.workers import checked_locks

if TYPE_CHECKING:
    from buildwright.builds.build import Build, BuildWorker
    from buildwright.builds.commands import RemoteCommand
    from buildwright.builds.steplogs import MasterOutput, StepLog
    from buildwright.builds.steprun import StepRun

T = TypeVar("T")

NAME_MOST = 50


class BuildStepFailed(Exception):
    """Raised in ``run`` to end the step with FAILURE."""


class BuildStepCancelled(Exception):
    """Raised in ``run`` to end the step with CANCELLED."""


_UNSET: Any = object()

# Of the arguments that every step takes, those that nothing else checks.
_KINDS = {
    "name": "str",
    "alwaysRun": "bool",
    "description": "str | Sequence | None",
    "descriptionDone": "str | Sequence | None",
    "descriptionSuffix": "str | Sequence | None",
    "doStepIf": "bool | Callable",
    "flunkOnFailure": "bool",
    "flunkOnWarnings": "bool",
    "haltOnFailure": "bool",
    "hideStepIf": "bool | Callable",
    "progressMetrics": "Sequence | None",
    "updateBuildSummaryPolicy": "bool | Sequence | None",
    "useProgress": "bool",
    "warnOnFailure": "bool",
    "warnOnWarnings": "bool",
    "workdir": "str | None",
}


class BuildStep(metaclass=Checked):
    """Base of all steps. Its attributes are the arguments that every step takes.

    Example::

        class Announce(steps.BuildStep):
            async def run(self):
                version = self.getProperty("version", "unknown")
                await self.addCompleteLog("announcement", f"building version {version}")
                return util.SUCCESS


        factory.addStep(Announce(name="announce"))
    """

    name: Any = "generic"
    alwaysRun: Any = False
    description: Any = None  # while it runs: text or a list of texts
    descriptionDone: Any = None  # when it has run
    descriptionSuffix: Any = None
    doStepIf: Any = True
    flunkOnFailure: Any = True
    flunkOnWarnings: Any = False
    haltOnFailure: Any = False
    hideStepIf: Any = False
    locks: Any = ()
    logEncoding: Any = None
    updateBuildSummaryPolicy: Any = None
    useProgress: Any = True
    warnOnFailure: Any = False
    warnOnWarnings: Any = False
    workdir: Any = None
    progressMetrics: Any = ()

    renderables: ClassVar[Sequence[str]] = (
        "alwaysRun",
        "description",
        "descriptionDone",
        "descriptionSuffix",
        "flunkOnFailure",
        "flunkOnWarnings",
        "haltOnFailure",
        "locks",
        "warnOnFailure",
        "warnOnWarnings",
        "workdir",
    )

    # Whether starting from the beginning is as good as going on: what `run` did before does no harm.
    restartable: ClassVar[bool] = False

    parms: ClassVar[frozenset[str]] = frozenset(
        {
            "name",
            "alwaysRun",
            "description",
            "descriptionDone",
            "descriptionSuffix",
            "doStepIf",
            "flunkOnFailure",
            "flunkOnWarnings",
            "haltOnFailure",
            "hideStepIf",
            "locks",
            "logEncoding",
            "progressMetrics",
            "updateBuildSummaryPolicy",
            "useProgress",
            "warnOnFailure",
            "warnOnWarnings",
            "workdir",
        }
    )

    # Set by the engine in a build.
    build: Build
    worker: BuildWorker
    stopped: bool = False
    results: int | None = None
    _all_renderables: ClassVar[tuple[str, ...] | None] = None
    _early_observers: Sequence[tuple[str, LogObserver]] = ()  # those of the constructor
    _run: StepRun
    _spec: StepSpec

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        step = super().__new__(cls)
        step._spec = StepSpec(cls, args, kwargs, location() if is_collecting() else None)
        return step

    def __init__(self, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            if name in self.parms:
                kind = _KINDS.get(name)
                if kind is None or expect_fit(value, kind, f"step {type(self).__name__}: {name}"):
                    setattr(self, name, value)
            else:
                error(
                    f"step {type(self).__name__} has no argument {name!r}",
                    suggest(name, self.known_arguments()),
                )
        if isinstance(self.name, str) and len(self.name) > NAME_MOST:
            error(f"the step's name {self.name!r} has more than {NAME_MOST} characters", "shorten it")
        if self.logEncoding is not None and (problem := encoding_problem(self.logEncoding)):
            error(f"step {type(self).__name__}: logEncoding: {problem}", "as in logEncoding='latin-1'")
        if self.locks and is_plain(self.locks):
            self.locks = checked_locks(self.locks, f"step {type(self).__name__}: locks")

    @classmethod
    def known_arguments(cls) -> set[str]:
        """Names of all arguments that the step takes by name."""
        names = set(cls.parms)
        for base in cls.__mro__:
            names.update(getattr(base, "shell_arguments", ()))
            if "__init__" in base.__dict__:
                kinds = inspect.signature(base.__dict__["__init__"]).parameters.values()
                names.update(each.name for each in kinds if each.kind is not each.VAR_KEYWORD)
        return names - {"self"}

    @classmethod
    def all_renderables(cls) -> tuple[str, ...]:
        """Names of all attributes that are rendered before the step runs."""
        found = cls.__dict__.get("_all_renderables")
        if found is None:
            names: dict[str, None] = {}
            for base in reversed(cls.__mro__):
                names.update(dict.fromkeys(base.__dict__.get("renderables", ())))
            found = tuple(names)
            cls._all_renderables = found
        return found

    def equip(self, build: Build, run: StepRun) -> None:
        """Make this the step of a build: called by the engine."""
        self.build = build
        self.worker = build.worker
        self._run = run

    # -- to be overridden ---------------------------------------------------------------------------------

    async def addTestResultSets(self) -> None:
        """Called before :meth:`run`: a good place for :meth:`addTestResultSet`."""

    async def run(self) -> int:
        """Do the work; gives one of the results SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY,
        CANCELLED.
        """
        return SUCCESS

    async def interrupt(self, reason: str) -> None:
        """The build is being stopped: end what runs. The engine has interrupted the step's commands
        already.
        """

    def getCurrentSummary(self) -> dict[str, str]:
        """What is shown while the step runs: {"step": text}."""
        return {"step": _joined(self.description, self.descriptionSuffix) or "running"}

    def getResultSummary(self) -> dict[str, str]:
        """What is shown when it has run: {"step": text}, and {"build": text} for the build's own summary."""
        return self._with_result(_joined(self.descriptionDone or self.description, self.descriptionSuffix))

    def _with_result(self, text: str) -> dict[str, str]:
        if self.results in (None, SUCCESS):
            return {"step": text or "finished"}
        name = Results[self.results]
        return {"step": f"{text} ({name})" if text else name}

    # -- commands -----------------------------------------------------------------------------------------

    async def runCommand(self, command: RemoteCommand) -> RemoteCommand:
        """Run a command on the worker to its end; gives it back with its outcome."""
        await self._run.requests.run_command(command)
        return command

    async def once(
        self,
        key: str,
        function: Callable[..., Any],
        *args: Any,
        output: MasterOutput | None = None,
    ) -> Any:
        """Do something on the master at most once per try of this step, also when another master goes on with
        it.

        ``function`` is a coroutine function, which a stop cancels, or a plain one that is run in a thread.
        Its result must be plain data (what msgpack holds): it is what is given when the step is run again.
        ``key`` tells the calls of a step apart. What it writes to a log it writes to ``output``.
        """
        return await self._run.requests.once(key, function, args, output)

    async def sleep(self, seconds: float) -> None:
        """Wait. Unlike asyncio's own sleep it can be gone on with, and it ends when the build is stopped."""
        await self._run.waits.sleep(seconds)

    # -- logs ---------------------------------------------------------------------------------------------

    def addLog(self, name: str, type: str = "s", logEncoding: Encoding | None = None) -> Any:
        """Add a log, or give the step's log of that name.

        Types: s (stdout, stderr, headers), t (text), h (HTML). ``logEncoding`` is that of commands which
        write to it; what the step's own code adds is text, or bytes that are UTF-8.
        """
        return Done(self._run.log(name, type, logEncoding))

    def addCompleteLog(self, name: str, text: str | bytes) -> Done:
        """Add a text log with its whole content."""
        log = self._run.log(name, "t")
        log.addContent(text)
        log.finish()
        return DONE

    def addHTMLLog(self, name: str, html: str | bytes) -> Done:
        """Add an HTML log with its whole content."""
        log = self._run.log(name, "h")
        log.addContent(html)
        log.finish()
        return DONE

    def getLog(self, name: str) -> StepLog:
        """A log that was added before; KeyError if there is none."""
        return self._run.log_named(name)

    def addLogObserver(self, logname: str, observer: LogObserver) -> None:
        """Have an observer watch a log, also one that is yet to come. Constructors may call it, too."""
        if "_run" not in self.__dict__:
            self._early_observers = [*self._early_observers, (logname, observer)]
        else:
            self._run.observe(logname, observer)

    # -- what is shown ------------------------------------------------------------------------------------

    def addURL(self, name: str, url: str) -> Done:
        """Show a link with the step."""
        self._run.add_url(name, url)
        return DONE

    def updateSummary(self) -> Done:
        """Ask for the current summary and show it."""
        self._run.show_summary()
        return DONE

    def setProgress(self, metric: str, value: float) -> Done:
        """Say how much of something the step has done so far: tests run, bytes written. Compared with what it
        had come to when the step last ended well, it tells how long the build will still take.
        """
        self._run.progress.set(metric, value)
        return DONE

    # -- properties ---------------------------------------------------------------------------------------

    def getProperties(self) -> Properties:
        return self.build.properties

    def getProperty(self, name: str, default: Any = None) -> Any:
        return self.build.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        return self.build.properties.hasProperty(name)

    def setProperty(self, name: str, value: Any, source: str = "", runtime: bool = True) -> None:
        """Set a property of the build; ``source`` is the step's class if none is given."""
        self.build.properties.setProperty(name, value, source or type(self).__name__, runtime)

    async def render(self, value: Any) -> Any:
        return await self.build.properties.render(value)

    def getStatistic(self, name: str, default: Any = None) -> Any:
        return self._run.statistics.get(name, default)

    def setStatistic(self, name: str, value: Any) -> None:
        self._run.statistics[name] = value

    def hasStatistic(self, name: str) -> bool:
        return name in self._run.statistics

    # -- what is left behind ------------------------------------------------------------------------------

    def setBuildData(self, name: str, value: bytes, source: str) -> Done:
        """Keep bytes with the build, for whoever reads them through the data API. The last value under a
        name counts. Raises ValueError for more than 16 MiB.
        """
        from buildwright.builds.builddata import build_data  # checking a configuration needs no store

        run = self._run
        run.writer.add(build_data(self.build.buildid, name, value, source, run.runner.secrets.mask))
        return DONE

    def addTestResultSet(self, description: str | None, category: str, value_unit: str) -> Done:
        """Make a set of test results; when awaited it gives the set's id.

        In a set of the category "pass_fail" a result passed if its value is "1"; in "pass_only" and
        "fail_only" all did or none. Other categories, and units like "boolean" or "ms", are for people.
        """
        return Done(self._run.test_results.add_set(description, category, value_unit))

    def addTestResult(
        self,
        setid: int,
        value: str,
        test_name: str | None = None,
        test_code_path: str | None = None,
        line: int | None = None,
        duration_ns: int | None = None,
        message: str | None = None,
    ) -> None:
        """Add a result to a set of this step, as often as need be: they are written in batches."""
        from buildwright.store.units.testresults import Result  # as above

        result = Result(value, test_name, test_code_path, line, duration_ns, message)
        self._run.test_results.add(setid, result)

    # -- the worker ---------------------------------------------------------------------------------------

    def getWorkerName(self) -> str:
        return self.worker.name

    def command_dir(self) -> str:
        """The step's working directory at the worker."""
        return self.build.path(self.workdir or self.build.workdir)


def _joined(description: Any, suffix: Any) -> str:
    words: list[str] = []
    for part in (description, suffix):
        if isinstance(part, str):
            words.append(part)
        elif part:
            words.extend(str(word) for word in part)
    return " ".join(words)
