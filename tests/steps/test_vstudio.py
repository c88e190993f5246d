"""Visual Studio and MSBuild: their exact command lines and environments, at a worker that plays a script.

The tools are for another system; what they print is told after their own output.
"""

from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.plugins import steps
from tests.steps.rehearsed import Rehearse, rehearsed

FOR = (
    r'set "PATH=%PATH%;%ProgramFiles(x86)%\Microsoft Visual Studio\Installer" && for /f "tokens=*" %I in '
    r"""('vswhere.exe -version "VERSIONS" -products * -property installationPath') do "%I\%VCENV_BAT%" """
)


DEVENV: list[tuple[str, dict[str, Any], list[str], str, str]] = [
    # name, arguments, command line, the end of the installation's directory, its PATH's last part
    ("VC7", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], ".NET 2003", r"Common7\Tools\bin"),
    (
        "VS2003",
        {"mode": "clean"},
        ["devenv.com", "x.sln", "/Clean", "release"],
        ".NET 2003",
        r"Common7\Tools\bin",
    ),
    (
        "VC8",
        {"useenv": True},
        ["devenv.com", "x.sln", "/Rebuild", "release", "/UseEnv"],
        "8",
        r"VC\VCPackages",
    ),
    ("VS2005", {"arch": "x64"}, ["devenv.com", "x.sln", "/Rebuild", "release"], "8", r"VC\VCPackages"),
    ("VC9", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "9.0", r"VC\VCPackages"),
    ("VS2008", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "9.0", r"VC\VCPackages"),
    ("VCExpress9", {}, ["vcexpress", "x.sln", "/Rebuild", "release"], "9.0", r"VC\VCPackages"),
    ("VC10", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "10.0", r"VC\VCPackages"),
    ("VS2010", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "10.0", r"VC\VCPackages"),
    ("VC11", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "11.0", r"VC\VCPackages"),
    ("VS2012", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "11.0", r"VC\VCPackages"),
    ("VC12", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "12.0", r"VC\VCPackages"),
    ("VS2013", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "12.0", r"VC\VCPackages"),
    ("VC14", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "14.0", r"VC\VCPackages"),
    ("VS2015", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], "14.0", r"VC\VCPackages"),
    ("VC141", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], r"2017\Community", r"Common7\IDE"),
    (
        "VS2017",
        {"project": "p", "config": "Debug|x64", "mode": "build"},
        ["devenv.com", "x.sln", "/Build", "Debug|x64", "/Project", "p"],
        r"2017\Community",
        r"Common7\IDE",
    ),
    ("VS2019", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], r"2019\Community", r"Common7\IDE"),
    ("VS2022", {}, ["devenv.com", "x.sln", "/Rebuild", "release"], r"2022\Community", r"Common7\IDE"),
    ("VC6", {}, ["msdev", "x.sln", "/MAKE", "ALL - release", "/REBUILD"], "Visual Studio", r"Common\TOOLS"),
    (
        "VC6",
        {"project": "p", "useenv": True, "mode": "build"},
        ["msdev", "x.sln", "/MAKE", "p - release", "/BUILD", "/USEENV"],
        "Visual Studio",
        r"Common\TOOLS",
    ),
]


def test_devenv(rehearse: Rehearse, tmp_path: Path) -> None:
    made = []
    for number, (name, arguments, *_) in enumerate(DEVENV):
        more = "".join(f", {key}={value!r}" for key, value in arguments.items())
        made.append(
            f"steps.{name}(projectfile='x.sln', name='{number}', PATH=['own'], env={{'A': 'b'}}{more})"
        )
    ci = rehearsed(rehearse, tmp_path, *made)
    ci.on("*")
    assert ci.build("b").outline == [(str(number), SUCCESS) for number in range(len(DEVENV))]
    for ran, (name, arguments, command, installdir, path) in zip(ci.ran, DEVENV, strict=True):
        assert ran.command == command, name
        first, *_, last, inherited = ran.env["PATH"].split(";")
        assert (first, inherited) == ("own", "${PATH}")
        assert last.endswith(rf"{installdir}\{path}"), name
        assert ran.env["A"] == "b"
        if arguments.get("arch") == "x64":
            assert r"VC\BIN\x86_amd64" in ran.env["PATH"]
            assert r"VC\LIB\amd64" in ran.env["LIB"]


TARGET = r'msbuild "x.sln" /p:Configuration="release" /p:Platform="Win32" /maxcpucount /t:"Rebuild"'
MSBUILD: list[tuple[str, dict[str, Any], str, str]] = [
    ("MsBuild", {}, f'"%VCENV_BAT%" x86 && {TARGET}', r"${VS110COMNTOOLS}..\..\VC\vcvarsall.bat"),
    ("MsBuild4", {}, f'"%VCENV_BAT%" x86 && {TARGET}', r"${VS110COMNTOOLS}..\..\VC\vcvarsall.bat"),
    ("MsBuild12", {}, f'"%VCENV_BAT%" x86 && {TARGET}', r"${VS120COMNTOOLS}..\..\VC\vcvarsall.bat"),
    (
        "MsBuild14",
        {"platform": "x64", "mode": "build", "project": "p", "defines": ["A", "B=1"]},
        f'"%VCENV_BAT%" x64 && {TARGET}'.replace("Win32", "x64").replace('"Rebuild"', '"p"')
        + ' /p:DefineConstants="A;B=1"',
        r"${VS140COMNTOOLS}..\..\VC\vcvarsall.bat",
    ),
    (
        "MsBuild4",
        {"project": "p", "mode": "clean"},
        f'"%VCENV_BAT%" x86 && {TARGET}'.replace('"Rebuild"', '"p:Clean"'),
        r"${VS110COMNTOOLS}..\..\VC\vcvarsall.bat",
    ),
    *(
        (name, {}, f"{FOR.replace('VERSIONS', versions)}x86 && {TARGET}", r"VC\Auxiliary\Build\vcvarsall.bat")
        for name, versions in (
            ("MsBuild141", "[15.0,16.0)"),
            ("MsBuild15", "[15.0,16.0)"),
            ("MsBuild16", "[16.0,17.0)"),
            ("MsBuild17", "[17.0,18.0)"),
        )
    ),
]


def test_msbuild(rehearse: Rehearse, tmp_path: Path) -> None:
    made = []
    for number, (name, arguments, *_) in enumerate(MSBUILD):
        given = {"platform": "Win32", "name": str(number), **arguments}
        more = "".join(f", {key}={value!r}" for key, value in given.items())
        made.append(f"steps.{name}(projectfile='x.sln'{more})")
    ci = rehearsed(rehearse, tmp_path, *made)
    ci.on("*")
    assert ci.build("b").outline == [(str(number), SUCCESS) for number in range(len(MSBUILD))]
    for ran, (name, _, command, vcenv_bat) in zip(ci.ran, MSBUILD, strict=True):
        assert (ran.command, ran.env["VCENV_BAT"]) == (command, vcenv_bat), name


OLD = r"""--------------------Configuration: one - Win32 Release--------------------
Compiling...
main.cpp
C:\x\main.cpp(3) : warning C4101: 'i' : unreferenced local variable
Linking...
LINK : fatal error LNK1104: cannot open file "gone.lib"
Error executing link.exe.
"""
NEW = r"""1>------ Rebuild All started: Project: one, Configuration: Release Win32 ------
1>main.cpp
1>  other.c
1>c:\x\main.cpp(3): warning C4101: 'i': unreferenced local variable
2>------ Rebuild All started: Project: two, Configuration: Release Win32 ------
========== Rebuild All: 2 succeeded, 0 failed, 0 skipped ==========
"""
BUILT = r"""Project "C:\x\x.sln" on node 1 (Rebuild target(s)).
     1>Project "C:\x\x.sln" (1) is building "C:\x\one.vcxproj" (2) on node 1 (default targets).
         main.cpp
C:\x\main.cpp(7): error C2065: 'nothing': undeclared identifier [C:\x\one.vcxproj]
    0 Warning(s)
    1 Error(s)
"""


def test_what_is_read_from_the_output(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.VC6(projectfile='old', name='old')",
        "steps.VS2017(projectfile='new', name='new', warnOnWarnings=True)",
        "steps.MsBuild17(projectfile='built', platform='x64', name='built')",
        "steps.VS2022(projectfile='broken', name='broken')",
    )
    ci.on("*", step="old").prints(OLD.replace("\n", "\r\n")).exits(1)
    ci.on("*", step="new").prints(NEW)
    ci.on("*", step="built").prints(BUILT)
    ci.on("*", step="broken").exits(1)
    build = ci.build("b")
    assert build.outline == [("old", FAILURE), ("new", WARNINGS), ("built", FAILURE), ("broken", FAILURE)]
    assert build.step("old").state == "compile 1 project 1 file 1 warning 1 error (failure)"
    assert build.step("new").state == "compile 2 projects 2 files 1 warning (warnings)"
    assert build.step("built").state == "compile 2 projects 1 file 1 error (failure)"
    assert b"LNK1104" in build.log("old", "errors").out
    assert b"C4101" in build.log("new", "warnings").out


def test_wrong_arguments() -> None:
    for arguments, message in [
        ({}, "has no projectfile"),
        ({"projectfile": "x", "mode": "make"}, "mode must be 'build', 'rebuild' or 'clean', not str 'make'"),
        ({"projectfile": "x", "PATH": "y"}, "PATH must be a list, not str"),
        ({"projectfile": "x", "arch": "arm"}, "arch must be 'x86' or 'x64', not str 'arm'"),
    ]:
        with pytest.raises(ConfigErrors, match=message):
            steps.VS2017(**arguments)
    with pytest.raises(ConfigErrors, match="step MsBuild17 has no platform"):
        steps.MsBuild17(projectfile="x")
    with pytest.raises(ConfigErrors, match="defines must be a list"):
        steps.MsBuild4(projectfile="x", platform="x64", defines="A")
