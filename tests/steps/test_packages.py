"""Steps that make packages, and robocopy.

rpmbuild is run. The other tools need systems, privileges or networks of their own: there are their exact
command lines, at a worker that plays a script; what they print is told after their own output.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import EXCEPTION, FAILURE, SUCCESS, WARNINGS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.steps.rehearsed import Rehearse, rehearsed

SPEC = """
Name: a
Version: 1
Release: %{_release}%{?dist}
Summary: x
License: none
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}/usr/share/a
echo %{_revision} > %{buildroot}/usr/share/a/f
%files
/usr/share/a/f
"""


async def test_rpmbuild_itself(start: Start) -> None:
    it = await start(
        """
builder("b", steps.SetProperty("got_revision", "abc"),
    steps.RpmBuild(specfile="a.spec", dist=".el9", autoRelease=True, vcsRevision=True),
    steps.RpmBuild(specfile="gone.spec", name="gone"))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    (there / "a.spec").write_text(SPEC)
    for number in (1, 2):
        built = await it.build()
        assert built.outline[1:] == [("rpmbuilder", SUCCESS), ("gone", FAILURE)], built
        assert (there / f"noarch/a-1-{number}.el9.noarch.rpm").exists()
        assert (there / f"a-1-{number}.el9.src.rpm").exists()
        assert b"+ echo abc\n" in built.log("rpmbuilder").err


HERE = (
    'rpmbuild --define "_topdir $(pwd)" --define "_builddir $(pwd)" --define "_rpmdir $(pwd)"'
    ' --define "_sourcedir $(pwd)" --define "_specdir $(pwd)" --define "_srcrpmdir $(pwd)"'
)


def test_rpmbuild(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.SetProperty('got_revision', 'abc')",
        "steps.RpmBuild(specfile='a.spec')",
        "steps.RpmBuild(specfile='s/a.spec', dist='.el9', define={'x': 1}, autoRelease=True,"
        " vcsRevision=True)",
        "steps.RpmBuild(specfile='s/a.spec', autoRelease=True, topdir='/t', name='again')",
    )
    ci.on("rpmbuild*")
    assert ci.build("b").result == "success"
    first, second, third = ci.ran
    assert first.command == f'{HERE} --define "dist .el6" -ba a.spec'
    more = '--define "dist .el9" --define "x 1" --define "_release 1" --define "_revision abc" -ba s/a.spec'
    assert second.command == f"{HERE} {more}"
    there = HERE.replace("_topdir $(pwd)", "_topdir /t")
    assert third.command == f'{there} --define "dist .el6" --define "_release 2" -ba s/a.spec'
    assert ci.build("b").result == "success"
    assert '"_release 3"' in ci.ran[4].line


def test_rpmlint(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.RpmLint()",
        "steps.RpmLint(fileloc='out', config='lint.conf', name='other')",
        "steps.RpmLint(command='rpmlint all', name='own')",
    )
    ci.on("*rpmlint*")
    ci.on("*rpmlint*", step="other").prints(
        "a.x86_64: W: no-documentation\na.spec:3: E: hardcoded-path\n1 packages checked; 1 errors.\n"
    ).exits(64)
    build = ci.build("b")
    assert build.outline == [("rpmlint", SUCCESS), ("other", FAILURE), ("own", SUCCESS)]
    assert build.result == "warnings"
    assert build.log("other", "warnings (2)").out.startswith(b"a.x86_64: W:")
    assert [ran.line for ran in ci.ran] == [
        "rpmlint --info .",
        "rpmlint --info --file lint.conf out",
        "rpmlint all",
    ]


def test_mock(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.Mock(root='fedora', name='bare')",
        "steps.MockBuildSRPM(root='fedora', spec='a.spec', resultdir='out')",
        "steps.MockRebuild(root='fedora', srpm=util.Interpolate('%(prop:buildername)s.src.rpm'))",
    )
    ci.on("mock*")
    build = ci.build("b")
    assert build.outline == [("bare", SUCCESS), ("mockbuildsrpm", SUCCESS), ("mock", SUCCESS)]
    assert [ran.line for ran in ci.ran] == [
        "mock --root fedora",
        "mock --root fedora --resultdir out --buildsrpm --spec a.spec --sources .",
        "mock --root fedora --rebuild b.src.rpm",
    ]
    assert ci.ran[1].args["logfiles"]["build.log"] == "out/build.log"
    assert ci.ran[2].args["logfiles"]["state.log"] == "/var/lib/mock/fedora/result/state.log"


def test_pbuilder(rehearse: Rehearse, tmp_path: Path) -> None:
    more = "othermirror='o', extrapackages=['x', 'y'], keyring='k', components='main', mirror='m'"
    ci = rehearsed(
        rehearse,
        tmp_path,
        f"steps.DebPbuilder(architecture='arm64', name='missing', {more})",
        "steps.DebPbuilder(name='old')",
        "steps.DebCowbuilder(distribution='sid', name='fresh')",
        "steps.UbuPbuilder(distribution='jammy', name='ubuntu')",
        "steps.UbuCowbuilder(distribution='jammy', basetgz='/base', name='broken')",
    )
    ci.on("*")
    ci.on("find *").exits(1)
    ci.on("find *", step="old").prints("/var/cache/pbuilder/stable-buildbot.tgz\n")
    ci.on("find *", step="fresh").exits(0)
    ci.on("sudo *", step="broken").exits(1)
    ci.on("pdebuild *", step="old").prints("dpkg-source: warning: odd\nW: strange\n")
    build = ci.build("b")
    assert build.outline == [
        ("missing", SUCCESS), ("old", WARNINGS), ("fresh", SUCCESS), ("ubuntu", SUCCESS), ("broken", FAILURE),
    ]  # fmt: skip
    pdebuild = "pdebuild --buildresult . --pbuilder /usr/sbin/"
    cache = "/var/cache/pbuilder"
    lines = [ran.line for ran in ci.ran]
    assert lines[:3] == [
        f"find {cache}/stable-arm64-buildbot.tgz -maxdepth 0 -mtime +6",
        (
            f"sudo /usr/sbin/pbuilder --create --basetgz {cache}/stable-arm64-buildbot.tgz"
            " --distribution stable --mirror m --architecture arm64 --othermirror o"
            " --extrapackages 'x y' --components main --debootstrapopts --keyring=k"
        ),
        (
            f"{pdebuild}pbuilder --architecture arm64 -- --buildresult . --basetgz"
            f" {cache}/stable-arm64-buildbot.tgz --extrapackages 'x y'"
        ),
    ]
    assert lines[4:6] == [
        f"sudo /usr/sbin/pbuilder --update --basetgz {cache}/stable-buildbot.tgz",
        f"{pdebuild}pbuilder -- --buildresult . --basetgz {cache}/stable-buildbot.tgz",
    ]
    assert lines[6:8] == [
        f"find {cache}/sid-buildbot.cow/ -maxdepth 0 -mtime +6",
        f"{pdebuild}cowbuilder -- --buildresult . --basepath {cache}/sid-buildbot.cow/",
    ]
    assert lines[9] == (
        f"sudo /usr/sbin/pbuilder --create --basetgz {cache}/jammy-buildbot.tgz --distribution jammy"
        " --components 'main universe'"
    )
    create = "sudo /usr/sbin/cowbuilder --create --basepath /base"
    assert lines[12:] == [f"{create} --distribution jammy --components 'main universe'"]


def test_lintian(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.DebLintian(fileloc='a.changes')",
        "steps.DebLintian(fileloc='a.deb', suppressTags=['x', 'y'], name='warned')",
    )
    ci.on("lintian*").prints("N: about\nE: a: bad\nW: a: odd\n").exits(2)
    ci.on("lintian*", step="warned").prints("W: a: odd\n")
    build = ci.build("b")
    assert build.outline == [("lintian", FAILURE), ("warned", WARNINGS)]
    assert build.step("lintian").state == "Lintian error=1 warning=1 (failure)"
    assert build.log("lintian", "errors (1)").out == b"E: a: bad\n"
    assert [ran.line for ran in ci.ran] == [
        "lintian -v a.changes",
        "lintian -v --suppress-tags x,y a.deb",
    ]


def test_robocopy(rehearse: Rehearse, tmp_path: Path) -> None:
    made = [f"steps.Robocopy('from', 'to', name='{code}')" for code in (0, 3, 4, 9, 16)]
    ci = rehearsed(
        rehearse,
        tmp_path,
        "steps.Robocopy('from', 'to', files=['*.c'], recursive=True, mirror=True, move=True, exclude=['x'],"
        " exclude_dirs=['y', 'z'], verbose=True, custom_opts=['/R:0'], name='all')",
        *[step.replace(")", ", haltOnFailure=False, alwaysRun=True)") for step in made],
    )
    for code in (0, 3, 4, 9, 16):
        ci.on("robocopy*", step=str(code)).exits(code)
    ci.on("robocopy*", step="all").exits(1)
    build = ci.build("b")
    assert build.outline == [
        ("all", SUCCESS), ("0", SUCCESS), ("3", SUCCESS), ("4", WARNINGS), ("9", FAILURE), ("16", EXCEPTION),
    ]  # fmt: skip
    assert ci.ran[0].line == ("robocopy from to '*.c' /E /MIR /MOVE /XF x /XD y z /V /TS /FP /TEE /NP /R:0")
    assert ci.ran[1].line == "robocopy from to /TEE /NP"


def test_wrong_arguments() -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (steps.RpmBuild, "step RpmBuild has no specfile"),
        (lambda: steps.RpmBuild(specfile="a", define=["x"]), "define must be a dict"),
        (steps.Mock, "step Mock has no root"),
        (lambda: steps.MockBuildSRPM(root="r"), "step MockBuildSRPM has no spec"),
        (lambda: steps.MockRebuild(root="r"), "step MockRebuild has no srpm"),
        (steps.UbuPbuilder, "step UbuPbuilder has no distribution"),
        (lambda: steps.DebPbuilder(extrapackages="x"), "extrapackages must be a list"),
        (lambda: steps.DebPbuilder(command="x"), "step DebPbuilder takes no argument 'command'"),
        (steps.DebLintian, "step DebLintian has no fileloc"),
        (lambda: steps.DebLintian(fileloc="a", suppressTags="x"), "suppressTags must be a list"),
        (lambda: steps.Robocopy("a", "b", files="x"), "files must be a list"),
    ]
    for made, message in wrong:
        with pytest.raises(ConfigErrors, match=message):
            made()
