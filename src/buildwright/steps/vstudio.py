"""Visual Studio and MSBuild.

``devenv`` (before: ``msdev``) builds a solution's configuration; ``msbuild`` does it in the environment that
Visual Studio's own ``vcvarsall.bat`` sets up. What differs between the versions is in :data:`RELEASES` and in
a few lines of the classes.
"""

from __future__ import annotations

import ntpath
import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import HEADER, LogBlockObserver
from buildwright.model.errors import error, shown
from buildwright.model.renderable import is_renderable
from buildwright.model.results import CANCELLED, FAILURE, WARNINGS, worst_status
from buildwright.steps.arguments import expect_flags, expect_lists, expect_texts
from buildwright.steps.issues import Kept, with_count
from buildwright.steps.shell import Tool

_PROGRAMS = r"C:\Program Files"
_PROGRAMS_X86 = r"C:\Program Files (x86)"


class Release(NamedTuple):
    """A release of Visual Studio: where it is by default, and which versions ``vswhere`` knows it by."""

    installdir: str
    versions: str = ""


RELEASES = {
    "6": Release(rf"{_PROGRAMS}\Microsoft Visual Studio"),
    "7": Release(rf"{_PROGRAMS}\Microsoft Visual Studio .NET 2003"),
    "8": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 8"),
    "9": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 9.0"),
    "10": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 10.0"),
    "11": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 11.0"),
    "12": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 12.0"),
    "14": Release(rf"{_PROGRAMS}\Microsoft Visual Studio 14.0"),
    "2017": Release(rf"{_PROGRAMS_X86}\Microsoft Visual Studio\2017\Community", "[15.0,16.0)"),
    "2019": Release(rf"{_PROGRAMS_X86}\Microsoft Visual Studio\2019\Community", "[16.0,17.0)"),
    "2022": Release(rf"{_PROGRAMS}\Microsoft Visual Studio\2022\Community", "[17.0,18.0)"),
}


class BuildObserver(LogBlockObserver):
    """Counts projects, compiled files, warnings and errors in what a build prints."""

    _PROJECT = re.compile(
        r"(?:\d+>)?-{6,} ?(?:[\w ]+: Project: |Configuration: )"
        r'|\s*(?:\d+>)?Project "[^"]+" (?:\(\d+\) is building |on node )'
    )
    _FILE = re.compile(r"\s*(?:\d+>)?\s*\S+\.(?:c|cc|cpp|cxx|rc|idl)$", re.IGNORECASE)
    _WARNING = re.compile(r"[:)] ?(?:\w+ ){0,2}warning(?: \w+)? ?: ", re.IGNORECASE)
    _ERROR = re.compile(r"[:)] ?(?:\w+ ){0,2}error(?: \w+)? ?: ", re.IGNORECASE)

    def __init__(self) -> None:
        super().__init__()
        self.projects = 0
        self.files = 0
        self.warnings = Kept()
        self.errors = Kept()

    def blockReceived(self, stream: str, block: bytes) -> None:
        if stream == HEADER:
            return
        for raw in block.removesuffix(b"\n").split(b"\n"):
            line = raw.decode("utf-8", "replace").rstrip("\r")
            if self._FILE.match(line):
                self.files += 1
            elif self._PROJECT.match(line):
                self.projects += 1
            elif self._WARNING.search(line):
                self.warnings.add(line)
            elif self._ERROR.search(line):
                self.errors.add(line)


class VisualStudio(Tool):
    """What the steps of all versions share.

    ``projectfile`` is the solution or project, ``project`` one of its projects, ``mode`` "build", "rebuild"
    or "clean". ``INCLUDE``, ``LIB`` and ``PATH`` are lists of directories that come before the
    installation's own; with ``useenv`` the compiler looks there only. Warnings and errors are counted, and in
    logs of those names.
    """

    name = "compile"
    description = "compiling"
    descriptionDone = "compile"
    release: ClassVar[Release]
    renderables: ClassVar[Sequence[str]] = (
        "projectfile",
        "installdir",
        "mode",
        "config",
        "useenv",
        "project",
        "INCLUDE",
        "LIB",
        "PATH",
    )

    def __init__(
        self,
        installdir: Any = None,
        mode: Any = "rebuild",
        projectfile: Any = None,
        config: Any = "release",
        useenv: Any = False,
        project: Any = None,
        INCLUDE: Any = (),
        LIB: Any = (),
        PATH: Any = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.installdir = self.release.installdir if installdir is None else installdir
        self.mode = mode
        self.projectfile = projectfile
        self.config = config
        self.useenv = useenv
        self.project = project
        self.INCLUDE = INCLUDE
        self.LIB = LIB
        self.PATH = PATH
        self._found = BuildObserver()
        kind = f"step {type(self).__name__}"
        if projectfile is None:
            error(f"{kind} has no projectfile", "give it the solution's or project's file")
        if not is_renderable(mode) and mode not in ("build", "rebuild", "clean"):
            error(f"{kind}: mode must be 'build', 'rebuild' or 'clean', not {shown(mode)}")
        expect_texts(kind, installdir=installdir, projectfile=projectfile, config=config, project=project)
        expect_flags(kind, useenv=useenv)
        expect_lists(kind, INCLUDE=INCLUDE, LIB=LIB, PATH=PATH)

    def directories(self) -> dict[str, Sequence[str]]:
        """The installation's own directories for INCLUDE, LIB and PATH, relative to ``installdir``."""
        return {}

    async def run(self) -> int:
        env = dict(self.env or {})
        own = self.directories()
        for name in ("INCLUDE", "LIB", "PATH"):
            found = [*getattr(self, name)]
            found += [ntpath.join(self.installdir, part) for part in own.get(name, ())]
            if found:
                env[name] = ";".join([*found, env.get(name, f"${{{name}}}")])
        self.env = {**env, **self.variables()}
        self.addLogObserver("stdio", self._found)
        return await super().run()

    def variables(self) -> dict[str, str]:
        """More of the environment."""
        return {}

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        found = self._found
        found.flush()
        found.warnings.write(self, "warnings")
        found.errors.write(self, "errors")
        for name, count in self._counts():
            self.setStatistic(f"{name}s", count)

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = cmd.results()
        if result == CANCELLED:
            return result
        if self._found.errors.count:
            return FAILURE
        return worst_status(result, WARNINGS) if self._found.warnings.count else result

    def _counts(self) -> list[tuple[str, int]]:
        found = self._found
        return [
            ("project", found.projects),
            ("file", found.files),
            ("warning", found.warnings.count),
            ("error", found.errors.count),
        ]

    def _with_result(self, text: str) -> dict[str, str]:
        for name, count in self._counts():
            text = with_count(text, count, name)
        return super()._with_result(text)


class VC6(VisualStudio):
    """Builds with Visual C++ 6: ``msdev``.

    Example::

        factory.addStep(steps.VC6(projectfile="project.dsw", config="project - Win32 Release"))
    """

    release = RELEASES["6"]

    def directories(self) -> dict[str, Sequence[str]]:
        return {
            "INCLUDE": [r"VC98\INCLUDE", r"VC98\ATL\INCLUDE", r"VC98\MFC\INCLUDE"],
            "LIB": [r"VC98\LIB", r"VC98\MFC\LIB"],
            "PATH": [r"Common\msdev98\BIN", r"VC98\BIN", r"Common\TOOLS\WINNT", r"Common\TOOLS"],
        }

    def variables(self) -> dict[str, str]:
        return {
            "MSVCDir": ntpath.join(self.installdir, "VC98"),
            "MSDevDir": ntpath.join(self.installdir, r"Common\msdev98"),
        }

    def words(self) -> list[Any]:
        target = f"{self.project} - {self.config}" if self.project else f"ALL - {self.config}"
        words = ["msdev", self.projectfile, "/MAKE", target, f"/{self.mode.upper()}"]
        return [*words, "/USEENV"] if self.useenv else words


class _Devenv(VisualStudio):
    """Builds with ``devenv``."""

    program: ClassVar[str] = "devenv.com"

    def words(self) -> list[Any]:
        words = [self.program, self.projectfile, f"/{self.mode.capitalize()}", self.config]
        if self.useenv:
            words.append("/UseEnv")
        return [*words, "/Project", self.project] if self.project else words


class VC7(_Devenv):
    """Builds with Visual Studio .NET 2003.

    Example::

        factory.addStep(
            steps.VC7(projectfile="project.sln", config="Release", useenv=True, INCLUDE=["D:/sdk/include"])
        )
    """

    release = RELEASES["7"]

    def directories(self) -> dict[str, Sequence[str]]:
        return {
            "INCLUDE": [
                r"VC7\INCLUDE",
                r"VC7\ATLMFC\INCLUDE",
                r"VC7\PlatformSDK\include",
                r"SDK\v1.1\include",
            ],
            "LIB": [r"VC7\LIB", r"VC7\ATLMFC\LIB", r"VC7\PlatformSDK\lib", r"SDK\v1.1\lib"],
            "PATH": [r"Common7\IDE", r"VC7\BIN", r"Common7\Tools", r"Common7\Tools\bin"],
        }

    def variables(self) -> dict[str, str]:
        return {"VSInstallDir": self.installdir, "VCInstallDir": self.installdir}


class VC8(_Devenv):
    """Builds with Visual Studio 2005, for ``arch`` "x86" or "x64".

    Example::

        factory.addStep(steps.VC8(projectfile="project.sln", config="Release", arch="x64"))
    """

    release = RELEASES["8"]
    renderables: ClassVar[Sequence[str]] = ("arch",)

    def __init__(self, arch: Any = "x86", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arch = arch
        if not is_renderable(arch) and arch not in ("x86", "x64", "amd64"):
            error(f"step {type(self).__name__}: arch must be 'x86' or 'x64', not {shown(arch)}")

    def directories(self) -> dict[str, Sequence[str]]:
        wide = self.arch != "x86"
        return {
            "INCLUDE": [r"VC\INCLUDE", r"VC\ATLMFC\INCLUDE", r"VC\PlatformSDK\include"],
            "LIB": [rf"VC\{part}\amd64" if wide else rf"VC\{part}" for part in ("LIB", r"ATLMFC\LIB")]
            + [r"VC\PlatformSDK\lib\amd64" if wide else r"VC\PlatformSDK\lib"],
            "PATH": [
                r"Common7\IDE",
                *([r"VC\BIN\x86_amd64"] if wide else []),
                r"VC\BIN",
                r"Common7\Tools",
                r"Common7\Tools\bin",
                r"VC\PlatformSDK\bin",
                r"VC\VCPackages",
            ],
        }

    def variables(self) -> dict[str, str]:
        return {"VSInstallDir": self.installdir, "VCInstallDir": ntpath.join(self.installdir, "VC")}


class VCExpress9(VC8):
    """Builds with Visual C++ 2008 Express.

    Example::

        factory.addStep(steps.VCExpress9(projectfile="project.sln", config="Debug"))
    """

    release = RELEASES["9"]
    program = "vcexpress"


class VC9(VC8):
    """Builds with Visual Studio 2008.

    Example::

        factory.addStep(steps.VC9(projectfile="project.sln", config="Release", LIB=["D:/sdk/lib"]))
    """

    release = RELEASES["9"]


class VC10(VC9):
    """Builds with Visual Studio 2010.

    Example::

        factory.addStep(steps.VC10(projectfile="project.sln", config="Release", arch="x64"))
    """

    release = RELEASES["10"]


class VC11(VC10):
    """Builds with Visual Studio 2012.

    Example::

        factory.addStep(steps.VC11(projectfile="project.sln", config="Release", arch="x86"))
    """

    release = RELEASES["11"]


class VC12(VC11):
    """Builds with Visual Studio 2013.

    Example::

        factory.addStep(steps.VC12(projectfile="project.sln", config="Debug", mode="build"))
    """

    release = RELEASES["12"]


class VC14(VC12):
    """Builds with Visual Studio 2015.

    Example::

        factory.addStep(steps.VC14(projectfile="project.sln", config="Release", arch="x64"))
    """

    release = RELEASES["14"]


class VC141(VC14):
    """Builds with Visual Studio 2017. From here on ``devenv`` sets its directories up by itself.

    Example::

        factory.addStep(steps.VC141(projectfile="project.sln", config="Release", project="library"))
    """

    release = RELEASES["2017"]

    def directories(self) -> dict[str, Sequence[str]]:
        return {"PATH": [r"Common7\IDE"]}


VS2003 = VC7
VS2005 = VC8
VS2008 = VC9
VS2010 = VC10
VS2012 = VC11
VS2013 = VC12
VS2015 = VC14
VS2017 = VC141


class VS2019(VS2017):
    """Builds with Visual Studio 2019.

    Example::

        factory.addStep(steps.VS2019(projectfile="project.sln", config="Release", arch="x64"))
    """

    release = RELEASES["2019"]


class VS2022(VS2017):
    """Builds with Visual Studio 2022.

    Example::

        factory.addStep(steps.VS2022(projectfile="project.sln", config="Release|x64", mode="build"))
    """

    release = RELEASES["2022"]


class MsBuild4(VisualStudio):
    """Builds with ``msbuild`` for a ``platform`` such as "Win32" or "x64".

    ``defines`` are the preprocessor's, a list of "NAME" and "NAME=value". The environment is that of the
    ``vcvarsall.bat`` which the variable VCENV_BAT names.

    Example::

        factory.addStep(steps.MsBuild4(projectfile="project.sln", config="Release", platform="Win32"))
    """

    release = RELEASES["11"]
    vcenv_bat: ClassVar[str] = r"${VS110COMNTOOLS}..\..\VC\vcvarsall.bat"
    renderables: ClassVar[Sequence[str]] = ("platform", "defines")

    def __init__(self, platform: Any = None, defines: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.platform = platform
        self.defines = defines
        if platform is None:
            error(f"step {type(self).__name__} has no platform", "give it platform='Win32' or 'x64'")
        expect_texts(f"step {type(self).__name__}", platform=platform)
        expect_lists(f"step {type(self).__name__}", defines=defines)

    def variables(self) -> dict[str, str]:
        return {"VCENV_BAT": self.vcenv_bat}

    def words(self) -> Any:
        return f'"%VCENV_BAT%" {self.architecture} && {self.msbuild}'

    @property
    def architecture(self) -> str:
        """The platform's name among the arguments of ``vcvarsall.bat``."""
        return {"win32": "x86", "x86": "x86", "x64": "x64"}.get(str(self.platform).lower(), "x86")

    @property
    def msbuild(self) -> str:
        """The command line of ``msbuild`` itself."""
        mode = self.mode.capitalize()
        target = mode
        if self.project is not None:
            target = self.project if mode == "Build" else f"{self.project}:{mode}"
        words = [
            f'msbuild "{self.projectfile}"',
            f'/p:Configuration="{self.config}"',
            f'/p:Platform="{self.platform}"',
            "/maxcpucount",
            f'/t:"{target}"',
        ]
        if self.defines:
            words.append(f'/p:DefineConstants="{";".join(self.defines)}"')
        return " ".join(words)


MsBuild = MsBuild4


class MsBuild12(MsBuild4):
    """Builds with Visual Studio 2013's ``msbuild``.

    Example::

        factory.addStep(steps.MsBuild12(projectfile="project.sln", config="Release", platform="x64"))
    """

    release = RELEASES["12"]
    vcenv_bat = r"${VS120COMNTOOLS}..\..\VC\vcvarsall.bat"


class MsBuild14(MsBuild4):
    """Builds with Visual Studio 2015's ``msbuild``.

    Example::

        factory.addStep(steps.MsBuild14(projectfile="project.sln", config="Release", platform="Win32"))
    """

    release = RELEASES["14"]
    vcenv_bat = r"${VS140COMNTOOLS}..\..\VC\vcvarsall.bat"


class MsBuild141(MsBuild4):
    """Builds with the ``msbuild`` of Visual Studio 2017, which is found by ``vswhere``.

    Example::

        factory.addStep(
            steps.MsBuild141(projectfile="project.sln", config="Debug", platform="x64", mode="build")
        )
    """

    release = RELEASES["2017"]
    vcenv_bat = r"VC\Auxiliary\Build\vcvarsall.bat"

    def words(self) -> Any:
        # vswhere is put on the path, since `for` takes no program whose name is in quotes.
        installer = r'set "PATH=%PATH%;%ProgramFiles(x86)%\Microsoft Visual Studio\Installer"'
        where = f'vswhere.exe -version "{self.release.versions}" -products * -property installationPath'
        return (
            f"""{installer} && for /f "tokens=*" %I in ('{where}') do """
            f'"%I\\%VCENV_BAT%" {self.architecture} && {self.msbuild}'
        )


MsBuild15 = MsBuild141


class MsBuild16(MsBuild141):
    """Builds with the ``msbuild`` of Visual Studio 2019.

    Example::

        factory.addStep(steps.MsBuild16(projectfile="project.sln", config="Release", platform="x64"))
    """

    release = RELEASES["2019"]


class MsBuild17(MsBuild141):
    """Builds with the ``msbuild`` of Visual Studio 2022.

    Example::

        factory.addStep(
            steps.MsBuild17(
                projectfile="project.sln", config="Release", platform="x64", defines=["NIGHTLY=1"]
            )
        )
    """

    release = RELEASES["2022"]
