"""Sources with p4, whose programs are in no package that the tests could install: its exact command lines, at
a worker that plays a script."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import SUCCESS
from buildwright.plugins import steps
from buildwright.testing import Rehearsal
from tests.steps.conftest import Start
from tests.steps.rehearsed import Rehearse, rehearsed
from tests.steps.test_secrets import files_of
from tests.support.repositories import PATCH

CLIENT = "buildwright_w1_b"
P4 = f"p4 -p perforce:1666 -u ci -c {CLIENT}"
ALL = f"//{CLIENT}/..."
BASE = "p4base='//depot/project', p4branch='main'"
NEW = [f"{P4} client -i", f"{P4} sync -k {ALL}#none"]
SPEC = f"""Client:\t{CLIENT}
Owner:\tci
Root:\t/worker/w1/b/build
Options:\tallwrite rmdir
LineEnd:\tlocal
Description:
\tMade by Buildwright for its builds.
View:
"""


def tried(rehearse: Rehearse, directory: Path, arguments: str) -> Rehearsal:
    ci = rehearsed(rehearse, directory, f"steps.P4(p4port='perforce:1666', p4user='ci', {arguments})")
    ci.on("p4*")
    ci.on("p4*changes*").prints("Change 77 on 2026/03/02 by ann@laptop 'more'\n")
    return ci


def knows_its_directory(ci: Rehearsal) -> None:
    """Have ``cat`` tell what the working directory's file says."""
    ci.on("cat*").prints(ci.machines["w1"].files["b/build/.buildwright/client"])


def since(ci: Rehearsal, before: int) -> list[str]:
    return [line.removeprefix(f"{P4} ") for line in lines(ci)[before:]]


def lines(ci: Rehearsal) -> list[str]:
    return [" ".join(ran.command) for ran in ci.ran]


def test_it_gets_the_sources_and_then_follows(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, BASE)
    build = ci.build("b")
    assert build.result == "success", build
    assert lines(ci) == [*NEW, f"{P4} sync {ALL}#head", f"{P4} changes -m1 {ALL}#have"]
    assert [ran.workdir for ran in ci.ran] == ["b", "b/build", "b/build", "b/build"]
    view = f"\t//depot/project/main/... {ALL}\n"
    assert ci.ran[0].args["initialStdin"] == SPEC + view
    assert build.properties["got_revision"] == "77"
    knows_its_directory(ci)
    before = len(ci.ran)
    assert ci.build("b", revision="60").result == "success"
    place = "cat build/.buildwright/client"
    assert since(ci, before) == ["client -i", place, f"sync {ALL}@60", f"changes -m1 {ALL}#have"]
    ci.on("cat*").prints("other:1666\nsomebody\n/elsewhere\n")
    ci.machines["w1"].files["b/build/left"] = b""
    before = len(ci.ran)
    assert ci.build("b").result == "success"
    assert since(ci, before)[2] == f"sync -k {ALL}#none"
    assert "b/build/left" not in ci.machines["w1"].files


@pytest.mark.parametrize("revision", ["60 61", "60,#head", "@60", "a#1", "-f"])
def test_what_is_no_revision(rehearse: Rehearse, tmp_path: Path, revision: str) -> None:
    ci = tried(rehearse, tmp_path, BASE)
    build = ci.build("b", revision=revision)
    assert build.step("p4").state.endswith(f"{revision!r} can't be a revision")
    assert not [ran for ran in ci.ran if revision in ran.line]


def test_views(rehearse: Rehearse, tmp_path: Path) -> None:
    def spec(arguments: str) -> str:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        ci = tried(rehearse, directory, arguments)
        assert ci.build("b").result == "success"
        given: str = ci.ran[0].args["initialStdin"]
        return given

    more = "p4base='//depot/a b', p4extra_views=[('//depot/tools', 'tools')], p4line_end='unix'"
    expected = SPEC.replace("local", "unix") + (
        f'\t"//depot/a b/..." {ALL}\n\t//depot/tools/... //{CLIENT}/tools/...\n'
    )
    assert spec(more) == expected
    whole = "p4viewspec=[('//depot/x/', ''), ('-//depot/x/big/', 'big/')]"
    assert spec(whole) == SPEC + f"\t//depot/x/... {ALL}\n\t-//depot/x/big/... //{CLIENT}/big/...\n"
    exact = "p4viewspec=[('//depot/x/f', 'f')], p4viewspec_suffix=None"
    assert spec(exact) == SPEC + f"\t//depot/x/f //{CLIENT}/f\n"
    stream = "p4base='//streams', p4branch='main', stream=True, p4client_type='readonly'"
    assert spec(stream) == (
        SPEC.replace("Description", "Type:\treadonly\nStream:\t//streams/main\nDescription").removesuffix(
            "View:\n"
        )
    )
    own = "p4base='//d', p4client=util.Interpolate('%(prop:workername)s-x'), p4client_spec_options='clobber'"
    named = SPEC.replace(CLIENT, "w1-x").replace("allwrite rmdir", "clobber")
    assert spec(own) == f"{named}\t//d/... //w1-x/...\n"


def test_nobody_sees_a_password(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(
        rehearse, tmp_path, f"{BASE}, p4passwd='swordfish', p4extra_args=['-Q', 'utf8'], p4bin='/p/p4'"
    )
    ci.on("/p/p4*").prints("Change 1 on x\n")
    assert ci.build("b").result == "success"
    assert ci.ran[0].line == f"/{P4.replace('p4', 'p/p4', 1)} -Q utf8 client -i"
    for ran in ci.ran:
        assert "swordfish" not in ran.line
        assert ran.env["P4PASSWD"] == "swordfish"
        assert not ran.args["logEnviron"]


def test_logging_in(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, f"{BASE}, p4passwd='swordfish', use_tickets=True")
    assert ci.build("b").result == "success"
    assert ci.ran[0].line == f"{P4} login"
    assert ci.ran[0].args["initialStdin"] == "swordfish\n"
    assert not [ran for ran in ci.ran if "P4PASSWD" in ran.env]
    ci.on("p4*login").prints("Password invalid.\n", stream="stderr").exits(1)
    assert ci.build("b").step("p4").state == "update (failure): Password invalid."


@pytest.mark.parametrize(("method", "words"), [("fresh", "clean -I"), ("clean", "clean"), ("clobber", None)])
def test_full(rehearse: Rehearse, tmp_path: Path, method: str, words: str | None) -> None:
    ci = tried(rehearse, tmp_path, f"{BASE}, mode='full', method={method!r}")
    files = ci.machines["w1"].files
    ci.on("p4*clean*").does(lambda ran: files.pop("b/build/.buildwright/client"))
    assert ci.build("b").result == "success"
    knows_its_directory(ci)
    before = len(ci.ran)
    assert ci.build("b").result == "success"
    now = since(ci, before)
    if words is None:
        assert now[1] == f"sync -k {ALL}#none"
    else:
        assert now[2] == f"{words} {ALL}"
        assert "b/build/.buildwright/client" in files


def test_what_builds_have_changed_is_put_back(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, BASE)
    assert ci.build("b").result == "success"
    knows_its_directory(ci)
    refused = "Can't clobber writable file /worker/w1/b/build/a\nsync aborted\n"
    ci.on("p4*sync*").prints(refused, stream="stderr").exits(1).once()
    before = len(ci.ran)
    assert ci.build("b").result == "success"
    assert since(ci, before)[2:5] == [f"sync {ALL}#head", f"clean -e -d -m {ALL}", f"sync {ALL}#head"]
    ci.on("p4*sync*").prints("Perforce client error:\n\tTCP connect failed.\n", stream="stderr").exits(1)
    assert ci.build("b").step("p4").state == "update (failure): TCP connect failed."


def test_a_patch_is_gone_with_the_next_build(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, BASE)
    files = ci.machines["w1"].files
    stamp = {"codebase": "", "patch": {"level": 0, "body": PATCH}}
    assert ci.build("b", stamps=[stamp]).result == "success"
    assert ci.ran[-2].line.startswith("patch -p0")
    assert "b/build/.buildwright/buildwright.patch" in files
    knows_its_directory(ci)

    def clean(_ran: Any) -> None:
        for name in ("client", "buildwright.patch"):
            files.pop(f"b/build/.buildwright/{name}")

    ci.on("p4*clean*").does(clean)
    before = len(ci.ran)
    assert ci.build("b").result == "success"
    assert since(ci, before)[2:4] == [f"clean {ALL}", f"sync {ALL}#head"]


def test_a_view_without_files_and_what_is_shown(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, f"{BASE}, debug=True")
    ci.on("p4*changes*")
    build = ci.build("b")
    assert build.step("p4").state == "update (failure): the view has no files"
    assert SPEC.encode() in build.log("p4").header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step P4 has no p4base"),
        ({"p4base": "//d/"}, "p4base must not end with a slash"),
        ({"p4base": 5}, "p4base must be text"),
        ({"p4base": "//d", "p4viewspec": [("a", "b")]}, "p4viewspec is the whole view"),
        ({"p4viewspec": "//d"}, "p4viewspec must be a list of pairs"),
        ({"p4base": "//d", "p4extra_views": ["//x"]}, "p4extra_views must be a list of pairs"),
        ({"p4base": "//d", "stream": True}, "stream takes p4base and p4branch"),
        ({"p4base": "//d", "use_tickets": True}, "use_tickets needs a p4passwd"),
        ({"p4base": "//d", "p4line_end": "dos"}, "p4line_end must be one of local, share"),
        ({"p4base": "//d", "p4client_type": "fast"}, "p4client_type must be one of writeable"),
        ({"p4base": "//d", "p4extra_args": "-Q"}, "p4extra_args must be a list"),
        ({"p4base": "//d", "mode": "full", "method": "copy"}, "method must be one of clobber, fresh, clean"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.P4(**arguments)


LOUD = """#!/bin/sh
env
case "$*" in *login) cat;; *changes*) echo "Change 5 on x";; esac
"""


@pytest.mark.parametrize("use_tickets", [False, True])
async def test_a_secret_is_in_no_file_of_master_and_worker(
    start: Start, tmp_path: Path, use_tickets: bool
) -> None:
    """P9: a p4 that shows all that it is given shows it nowhere."""
    secrets = tmp_path / "master" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "perforce").write_text("swordfish")
    (secrets / "perforce").chmod(0o600)
    (tmp_path / "p4").write_text(LOUD)
    (tmp_path / "p4").chmod(0o755)
    it = await start(
        'c["secretsProviders"] = [secrets.SecretInAFile("secrets")]\n'
        f'builder("b", steps.P4(p4base="//depot", p4bin="{tmp_path}/p4", p4passwd=util.Secret("perforce"),'
        f" use_tickets={use_tickets}, debug=True))\n"
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    log = built.log("p4")
    assert b"<perforce>" in log.out
    assert b"swordfish" not in log.out + log.err + log.header
    assert not [file for file, content in files_of(tmp_path, but=secrets).items() if b"swordfish" in content]
