"""Factories for common kinds of projects: the steps that each of them takes, after the one that gets its
sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildwright.model.builders import BuildFactory
from buildwright.model.errors import error
from buildwright.model.renderable import IRenderable
from buildwright.steps.arguments import expect_dicts, expect_lists, expect_texts, expect_words
from buildwright.steps.cvs import CVS
from buildwright.steps.shell import Configure, ShellCommand
from buildwright.steps.svn import SVN
from buildwright.steps.tests import PerlModuleTest, Test
from buildwright.steps.trial import Trial as TrialStep
from buildwright.steps.warnings import Compile

_DEFAULT: Any = object()


class GNUAutoconf(BuildFactory):
    """``configure``, ``make all``, ``make check``, ``make distcheck``; None leaves one out.

    ``reconf`` runs ``autoreconf -si`` before that, or the command that it is.

    Example::

        hello = util.GNUAutoconf(
            steps.Git(repourl="https://git.example.org/hello.git"),
            configureFlags=["--disable-nls"],
            reconf=True,
            distcheck=None,
        )
        c["builders"].append(util.BuilderConfig("hello", workernames=["linux"], factory=hello))
    """

    def __init__(
        self,
        source: Any,
        configure: str | Sequence[str] | None = "./configure",
        configureEnv: Mapping[str, Any] | None = None,
        configureFlags: Sequence[str] | None = None,
        reconf: Any = None,
        compile: Any = _DEFAULT,
        test: Any = _DEFAULT,
        distcheck: Any = _DEFAULT,
    ) -> None:
        super().__init__([source])
        expect_words("GNUAutoconf", configure=configure)
        expect_lists("GNUAutoconf", configureFlags=configureFlags)
        expect_dicts("GNUAutoconf", configureEnv=configureEnv)
        env = dict(configureEnv) if isinstance(configureEnv, dict) else {}
        if reconf:
            command = ["autoreconf", "-si"] if reconf is True else reconf
            self.addStep(ShellCommand(name="autoreconf", command=command, env=env))
        if configure is not None:
            words = configure.split() if isinstance(configure, str) else _listed(configure)
            self.addStep(Configure(command=[*words, *_listed(configureFlags)], env=env))
        if compile is not None:
            self.addStep(Compile(command=["make", "all"] if compile is _DEFAULT else compile))
        if test is not None:
            self.addStep(Test(command=["make", "check"] if test is _DEFAULT else test))
        if distcheck is not None:
            self.addStep(Test(command=["make", "distcheck"] if distcheck is _DEFAULT else distcheck))


class BasicSVN(GNUAutoconf):
    """A project of GNU autoconf's kind, from a Subversion repository.

    Example::

        c["builders"].append(
            util.BuilderConfig(
                "svn",
                workernames=["linux"],
                factory=util.BasicSVN("https://svn.example.org/project/trunk", configure="./configure"),
            )
        )
    """

    def __init__(
        self,
        svnurl: str | IRenderable,
        configure: str | Sequence[str] | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Any = "make all",
        test: Any = "make check",
    ) -> None:
        source = SVN(svnurl, mode="incremental")
        super().__init__(source, configure, configureEnv, compile=compile, test=test, distcheck=None)


class BasicBuildFactory(GNUAutoconf):
    """A project of GNU autoconf's kind, from a CVS repository, each time from nothing; ``cvsCopy`` copies it
    from a working copy that is kept.

    Example::

        c["builders"].append(
            util.BuilderConfig(
                "cvs",
                workernames=["linux"],
                factory=util.BasicBuildFactory(":pserver:anonymous@cvs.example.org:/cvsroot", "project"),
            )
        )
    """

    def __init__(
        self,
        cvsroot: str | IRenderable,
        cvsmodule: str,
        configure: str | Sequence[str] | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Any = "make all",
        test: Any = "make check",
        cvsCopy: bool = False,
    ) -> None:
        source = CVS(cvsroot, cvsmodule, mode="full", method="copy" if cvsCopy else "clobber")
        super().__init__(source, configure, configureEnv, compile=compile, test=test, distcheck=None)


class QuickBuildFactory(GNUAutoconf):
    """A project of GNU autoconf's kind, from a CVS repository, in what the last build has left.

    Example::

        c["builders"].append(
            util.BuilderConfig(
                "quick",
                workernames=["linux"],
                factory=util.QuickBuildFactory(":pserver:anonymous@cvs.example.org:/cvsroot", "project"),
            )
        )
    """

    def __init__(
        self,
        cvsroot: str | IRenderable,
        cvsmodule: str,
        configure: str | Sequence[str] | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Any = "make all",
        test: Any = "make check",
        cvsCopy: bool = False,  # noqa: ARG002 - taken as Buildbot does; there is nothing to copy
    ) -> None:
        source = CVS(cvsroot, cvsmodule, mode="incremental")
        super().__init__(source, configure, configureEnv, compile=compile, test=test, distcheck=None)


class CPAN(BuildFactory):
    """A Perl module: ``perl Makefile.PL``, ``make``, ``make test``.

    Example::

        module = util.CPAN(steps.Git(repourl="https://git.example.org/perl-module.git"), perl="/usr/bin/perl")
        c["builders"].append(util.BuilderConfig("perl", workernames=["linux"], factory=module))
    """

    def __init__(self, source: Any, perl: str = "perl") -> None:
        super().__init__([source])
        expect_texts("CPAN", perl=perl)
        self.addStep(Configure(command=[perl, "Makefile.PL"]))
        self.addStep(Compile(command=["make"]))
        self.addStep(PerlModuleTest(command=["make", "test"]))


class Distutils(BuildFactory):
    """A Python package with a ``setup.py``: builds it, and runs ``test`` if that is given.

    Example::

        package = util.Distutils(
            steps.Git(repourl="https://git.example.org/package.git"),
            python="python3",
            test=["python3", "-m", "unittest"],
        )
        c["builders"].append(util.BuilderConfig("package", workernames=["linux"], factory=package))
    """

    def __init__(self, source: Any, python: str = "python", test: Any = None) -> None:
        super().__init__([source])
        expect_texts("Distutils", python=python)
        self.addStep(Compile(command=[python, "./setup.py", "build"]))
        if test is not None:
            self.addStep(Test(command=test))


class Trial(BuildFactory):
    """A Python package with a ``setup.py``, tested with Twisted's trial: all ``tests``, or with
    ``useTestCaseNames`` those of the files that have changed.

    Example::

        package = util.Trial(
            steps.Git(repourl="https://git.example.org/package.git"), tests="package.test", randomly=True
        )
        c["builders"].append(util.BuilderConfig("trial", workernames=["linux"], factory=package))
    """

    def __init__(
        self,
        source: Any,
        buildpython: Sequence[str] | None = None,
        trialpython: Sequence[str] | None = None,
        trial: str | None = None,
        testpath: str | None = ".",
        randomly: bool | None = None,
        recurse: bool | None = None,
        tests: Any = None,
        useTestCaseNames: bool = False,
        env: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__([source])
        if not tests and not useTestCaseNames:
            error("Trial has nothing to test", "give it tests='package' or useTestCaseNames=True")
        expect_lists("Trial", buildpython=buildpython, trialpython=trialpython)
        expect_dicts("Trial", env=env)
        env = dict(env) if isinstance(env, dict) else {}
        python = _listed(buildpython) or ["python"]
        self.addStep(Compile(command=[*python, "./setup.py", "build"], env=env))
        self.addStep(
            TrialStep(
                python=_listed(trialpython),
                trial=trial,
                testpath=testpath,
                tests=tests,
                testChanges=useTestCaseNames,
                randomly=randomly,
                recurse=recurse,
                env=env,
            )
        )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
