"""Sources with mtn, which Debian has no longer: its exact command lines, at a worker that plays a script."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.plugins import steps
from buildwright.testing import Rehearsal
from tests.steps.rehearsed import Rehearse, rehearsed

URL = "mtn://mtn.example.org/project"
BRANCH = "org.example.project"
REVISION = "ab" * 20
PULL = f"mtn pull --db=build.mtn --ticker=none -- '{URL}?{BRANCH}'"
NEW = [
    "mtn db init --db=build.mtn",
    PULL,
    f"mtn checkout --db=build.mtn --branch={BRANCH} --revision=h:{BRANCH} -- build",
]
LAST = "mtn automate get_base_revision_id"


def tried(rehearse: Rehearse, directory: Path, arguments: str = "") -> Rehearsal:
    ci = rehearsed(rehearse, directory, f"steps.Monotone({URL!r}, {BRANCH!r}{arguments})")
    ci.on("mtn*")
    ci.on("mtn db init*").writes("build.mtn", "x")
    ci.on(LAST).prints(f"{REVISION}\n")
    ci.on("cat*").prints(URL)
    return ci


def lines(ci: Rehearsal, since: int = 0) -> list[str]:
    return [ran.line for ran in ci.ran if not ran.line.startswith("cat")][since:]


def test_it_checks_out_and_then_follows(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path)
    build = ci.build("b")
    assert build.result == "success", build
    assert lines(ci) == [*NEW, LAST]
    assert {ran.workdir for ran in ci.ran[:3]} == {"b"}
    assert build.properties["got_revision"] == REVISION
    before = len(lines(ci))
    assert ci.build("b", branch="other", revision="cd" * 20).result == "success"
    assert lines(ci, before) == [
        PULL.replace(BRANCH, "other"),
        "mtn revert -- .",
        f"mtn update --branch=other --revision={'cd' * 20}",
        LAST,
    ]


def test_another_address_begins_anew(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path)
    assert ci.build("b").result == "success"
    ci.on("cat*").prints("mtn://elsewhere/project")
    ci.machines["w1"].files["b/build/left"] = b""
    before = len(lines(ci))
    assert ci.build("b").result == "success"
    assert lines(ci, before) == [*NEW, LAST]
    assert "b/build/left" not in ci.machines["w1"].files


def test_an_address_that_says_what_to_pull(rehearse: Rehearse, tmp_path: Path) -> None:
    made = f"steps.Monotone('{URL}?org.*', {BRANCH!r}, progress=True)"
    ci = rehearsed(rehearse, tmp_path, made)
    ci.on(LAST).prints(f"{REVISION}\n")
    assert ci.build("b").result == "success"
    assert lines(ci)[1] == f"mtn pull --db=build.mtn --ticker=dot -- '{URL}?org.*'"


@pytest.mark.parametrize(
    ("method", "gone"), [("fresh", {"plain", "ignored"}), ("clean", {"plain"}), ("clobber", None)]
)
def test_full(rehearse: Rehearse, tmp_path: Path, method: str, gone: set[str] | None) -> None:
    ci = tried(rehearse, tmp_path, f", mode='full', method={method!r}")
    ci.on("mtn list unknown").prints("plain\n")
    ci.on("mtn list ignored").prints("ignored\n")
    assert ci.build("b").result == "success"
    files = ci.machines["w1"].files
    files |= {"b/build/plain": b"", "b/build/ignored": b""}
    before = len(lines(ci))
    assert ci.build("b").result == "success"
    if gone is None:
        assert lines(ci, before)[:3] == NEW
    else:
        assert {name for name in ("plain", "ignored") if f"b/build/{name}" not in files} == gone


def test_what_fails(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path)
    ci.on("mtn pull*").prints("mtn: error: network error\nmtn: help\n", stream="stderr").exits(1)
    assert ci.build("b").step("monotone").state.endswith("(failure): mtn: error: network error")
    ci.on("mtn pull*")
    ci.on(LAST).prints("nothing\n")
    assert ci.build("b").step("monotone").state.endswith("mtn gave 'nothing' as the revision")


def test_no_branch(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = rehearsed(rehearse, tmp_path, f"steps.Monotone({URL!r})")
    assert "says which branch is wanted" in ci.build("b").step("monotone").state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step Monotone has no repourl"),
        ({"repourl": "u", "branch": 5}, "branch must be text"),
        ({"repourl": "u", "progress": "yes"}, "progress must be True or False"),
        ({"repourl": "u", "mode": "full", "method": "export"}, "method must be one of fresh, clean"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.Monotone(**arguments)
