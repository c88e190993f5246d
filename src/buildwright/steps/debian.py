"""Packages of Debian systems: pbuilder, cowbuilder and lintian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.errors import error
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS, worst_status
from buildwright.steps.arguments import expect_lists, expect_texts
from buildwright.steps.issues import IssueObserver
from buildwright.steps.shell import Tool
from buildwright.steps.warnings import WarningCountingShellCommand

_KINDS = {"E": "error", "W": "warning"}


class DebPbuilder(WarningCountingShellCommand):
    """Builds a package in a clean system: ``pdebuild`` with pbuilder.

    The base system ``basetgz`` is made when it isn't there, and brought up to date when it is older than
    ``maxAge`` days; ``sudo`` must work for that. Without a ``mirror`` pbuilder takes the one of its own
    configuration.

    Example::

        factory.addStep(
            steps.DebPbuilder(
                distribution="bookworm", architecture="arm64", extrapackages=["ca-certificates"]
            )
        )
    """

    name = "pbuilder"
    haltOnFailure = True
    flunkOnFailure = True
    description = "building"
    descriptionDone = "built"
    warningPattern = r".*(?:warning[: ]|\bW: ).*"
    command: Any = ("pdebuild",)

    architecture: Any = None
    distribution: Any = "stable"
    basetgz: Any = None
    mirror: Any = None
    othermirror: Any = None
    extrapackages: Any = ()
    keyring: Any = None
    components: Any = None
    maxAge = 7  # days
    pbuilder: ClassVar[str] = "/usr/sbin/pbuilder"
    base_option: ClassVar[str] = "--basetgz"
    base_suffix: ClassVar[str] = ".tgz"
    renderables: ClassVar[Sequence[str]] = (
        "architecture",
        "distribution",
        "basetgz",
        "mirror",
        "othermirror",
        "extrapackages",
        "keyring",
        "components",
    )

    def __init__(
        self,
        architecture: Any = None,
        distribution: Any = None,
        basetgz: Any = None,
        mirror: Any = None,
        othermirror: Any = None,
        extrapackages: Any = None,
        keyring: Any = None,
        components: Any = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "architecture": architecture,
            "distribution": distribution,
            "basetgz": basetgz,
            "mirror": mirror,
            "othermirror": othermirror,
            "extrapackages": extrapackages,
            "keyring": keyring,
            "components": components,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        kind = f"step {type(self).__name__}"
        if kwargs.pop("command", None) is not None:
            error(f"{kind} takes no argument 'command'", "the step decides it itself")
        super().__init__(**kwargs)
        if not self.distribution:
            error(f"{kind} has no distribution", "give it the name of a release")
        expect_lists(kind, extrapackages=extrapackages)
        expect_texts(kind, **{name: value for name, value in given.items() if name != "extrapackages"})

    @property
    def base(self) -> str:
        """Where the base system is."""
        if self.basetgz:
            return str(self.basetgz)
        parts = [str(part) for part in (self.distribution, self.architecture, "buildbot") if part]
        return f"/var/cache/pbuilder/{'-'.join(parts)}{self.base_suffix}"

    def _options(self) -> list[str]:
        """What pbuilder is told of the system that it makes."""
        words = ["--distribution", self.distribution]
        for option, value in (
            ("--mirror", self.mirror),
            ("--architecture", self.architecture),
            ("--othermirror", self.othermirror),
            ("--extrapackages", " ".join(self.extrapackages)),
            ("--components", self.components),
        ):
            if value:
                words += [option, value]
        if self.keyring:
            words += ["--debootstrapopts", f"--keyring={self.keyring}"]
        return words

    async def run(self) -> int:
        result = await self._prepare_base()
        if result != SUCCESS:
            return result
        words = ["pdebuild", "--buildresult", ".", "--pbuilder", self.pbuilder]
        if self.architecture:
            words += ["--architecture", self.architecture]
        words += ["--", "--buildresult", ".", self.base_option, self.base]
        if self.extrapackages:
            words += ["--extrapackages", " ".join(self.extrapackages)]
        self.command = words
        return await super().run()

    async def _prepare_base(self) -> int:
        """Make the base system, or update it if it is old."""
        # By the worker's clock, and in the journal: whoever goes on with the step decides the same.
        old = ["find", self.base, "-maxdepth", "0", "-mtime", f"+{self.maxAge - 1}"]
        looked = await self.makeRemoteShellCommand(command=old, collectStdout=True, stdioLogName=None)
        await self.runCommand(looked)
        if looked.interrupted:
            return CANCELLED
        begin = ["sudo", self.pbuilder]
        if looked.rc != 0:
            words = [*begin, "--create", self.base_option, self.base, *self._options()]
        elif looked.stdout.strip():
            words = [*begin, "--update", self.base_option, self.base]
        else:
            return SUCCESS
        made = await self.makeRemoteShellCommand(command=words, stdioLogName=words[2].lstrip("-"))
        await self.runCommand(made)
        return made.results()


class DebCowbuilder(DebPbuilder):
    """Builds a package in a clean system with cowbuilder, whose base is a directory.

    Example::

        factory.addStep(
            steps.DebCowbuilder(
                distribution="bookworm", architecture="amd64", mirror="https://deb.example.org/debian"
            )
        )
    """

    name = "cowbuilder"
    pbuilder = "/usr/sbin/cowbuilder"
    base_option = "--basepath"
    base_suffix = ".cow/"


class UbuPbuilder(DebPbuilder):
    """Builds a package for a release of Ubuntu, ``distribution``.

    Example::

        factory.addStep(
            steps.UbuPbuilder(distribution="noble", architecture="amd64", components="main universe")
        )
    """

    distribution = None
    components = "main universe"


class UbuCowbuilder(DebCowbuilder):
    """Builds a package for a release of Ubuntu, ``distribution``, with cowbuilder.

    Example::

        factory.addStep(steps.UbuCowbuilder(distribution="noble", architecture="amd64"))
    """

    distribution = None
    components = "main universe"


class DebLintian(Tool):
    """Runs ``lintian`` on ``fileloc``, a package or its ``.changes``; errors are a failure.

    ``suppressTags`` is a list of tags that don't count.

    Example::

        factory.addStep(
            steps.DebLintian(
                fileloc=util.Interpolate("%(prop:deb-changes)s"),
                suppressTags=["initial-upload-closes-no-bugs"],
            )
        )
    """

    name = "lintian"
    flunkOnFailure = False
    warnOnFailure = True
    description = "Lintian running"
    descriptionDone = "Lintian"
    fileloc: Any = None
    suppressTags: Any = ()
    renderables: ClassVar[Sequence[str]] = ("fileloc", "suppressTags")

    def __init__(self, fileloc: Any = None, suppressTags: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fileloc = self.fileloc if fileloc is None else fileloc
        self.suppressTags = self.suppressTags if suppressTags is None else suppressTags
        self._found = IssueObserver(_KINDS.values(), lambda _, line: _kind_of(line))
        if self.fileloc is None:
            error("step DebLintian has no fileloc", "give it a package's path, or that of its .changes")
        expect_texts(f"step {type(self).__name__}", fileloc=fileloc)
        expect_lists(f"step {type(self).__name__}", suppressTags=suppressTags)

    def words(self) -> list[Any]:
        tags = ["--suppress-tags", ",".join(self.suppressTags)] if self.suppressTags else []
        return ["lintian", "-v", *tags, self.fileloc]

    async def run(self) -> int:
        self.addLogObserver("stdio", self._found)
        return await super().run()

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        self._found.flush()
        for kind, kept in self._found.issues.items():
            kept.write(self, f"{kind}s ({kept.count})")
            self.setStatistic(f"{kind}s", kept.count)

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = cmd.results()
        if result == CANCELLED:
            return result
        if self._found.issues["error"].count:
            return FAILURE
        return worst_status(result, WARNINGS) if self._found.total else result

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(self._found.summary(text))


def _kind_of(line: str) -> str | None:
    return _KINDS.get(line[:1]) if line[1:3] == ": " else None
