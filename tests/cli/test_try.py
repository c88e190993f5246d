"""`buildwright try` and `sendchange`, with working copies of Git and Mercurial."""

import base64
import contextlib
import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Master, buildwright, environment, eventually, failed, master_in, succeeded

CONFIG = r"""
import os
from buildwright.plugins import changes, schedulers, steps, util, worker

def builder(name, *more):
    factory = util.BuildFactory([steps.Git(repourl=os.path.join(basedir, "..", "upstream.git")), *more])
    return util.BuilderConfig(name=name, workernames=["local"], factory=factory)

c = BuildmasterConfig = {}
c["workers"] = [worker.LocalWorker("local")]
c["builders"] = [
    builder("show", steps.ShellCommand(command="cat greeting new; cmp bytes bytes")),
    builder("strict", steps.ShellCommand(command=["grep", "-q", "good day", "greeting"])),
]
c["schedulers"] = [
    schedulers.Try_Userpass("try", builderNames=["show", "strict"]),
    schedulers.Try_Jobdir("dir", builderNames=["show"], jobdir="jobs"),
]
c["change_source"] = changes.PBChangeSource(prefix="sub/")
c["www"] = {"port": f"tcp:{PORT}:interface=127.0.0.1"}
"""
WHO = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "HGUSER": "Ann <ann@example.org>",
    "HGRCPATH": "/dev/null",
}


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **WHO}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def trier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A master with a try scheduler; `upstream.git` beside it."""
    directory = tmp_path_factory.mktemp("trier")
    run("git", "init", "-q", "--bare", "-b", "main", "upstream.git", cwd=directory)
    run("git", "clone", "-q", "upstream.git", "first", cwd=directory)
    first = directory / "first"
    (first / "greeting").write_text("good day\n")
    (first / "bytes").write_bytes(bytes(range(256)))
    run("git", "checkout", "-q", "-b", "main", cwd=first)
    run("git", "add", ".", cwd=first)
    run("git", "commit", "-q", "-m", "begin", cwd=first)
    run("git", "push", "-q", "origin", "main", cwd=first)
    with master_in(directory / "master", CONFIG) as master:
        yield master


@pytest.fixture
def copy(trier: Master, tmp_path: Path) -> Path:
    """A clone with a commit that isn't pushed, a change that isn't committed, and a file nobody has added."""
    run("git", "clone", "-q", str(trier.basedir.parent / "upstream.git"), "copy", cwd=tmp_path)
    copy = tmp_path / "copy"
    run("git", "config", "user.name", "Ann", cwd=copy)
    run("git", "config", "user.email", "ann@example.org", cwd=copy)
    run("git", "config", "diff.noprefix", "true", cwd=copy)  # a habit that must not matter
    (copy / "new").write_text("a file\n")
    (copy / "bytes").write_bytes(bytes(range(255, -1, -1)))
    run("git", "add", ".", cwd=copy)
    run("git", "commit", "-q", "-m", "more", cwd=copy)
    (copy / "greeting").write_text("good day, all\n")
    (copy / "stray").write_text("nobody has added this\n")
    return copy


def test_the_difference_is_built_and_waited_for(trier: Master, copy: Path) -> None:
    done = buildwright("try", "--wait", "-C", "greet all", "--url", trier.url, cwd=copy, env=WHO)
    assert done.code == 0, done.err
    assert "show: success" in done.out
    assert "strict: success" in done.out
    assert "Not sent, because nobody has added them: stray" in done.err
    shown = succeeded("log", "show", "--url", trier.url).out
    assert "good day, all" in shown
    assert "a file" in shown
    [build] = succeeded("builds", "show", "-n", "1", "--json", "--url", trier.url).json
    properties = {name: value for name, (value, _) in build["properties"].items()}
    base = run("git", "rev-parse", "origin/main", cwd=copy)
    assert (properties["branch"], properties["revision"]) == ("main", base)
    assert properties["owner"] == "Ann <ann@example.org>"


def test_on_a_terminal_each_build_has_a_bar(trier: Master, copy: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(copy)
        arguments = [sys.executable, "-m", "buildwright", "try", "--wait", "--url", trier.url]
        os.execve(sys.executable, arguments, environment(**WHO))
    written = b""
    with contextlib.suppress(OSError):  # its end, as Linux tells of it
        while piece := os.read(terminal, 65536):
            written += piece
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, written
    last = written.decode(errors="replace").split("\n")
    for builder in ("show", "strict"):
        assert any(builder in line and "\u2501" in line and "success" in line for line in last), written


def test_a_build_that_fails_is_exit_code_1(trier: Master, copy: Path) -> None:
    (copy / "greeting").write_text("bad day\n")
    done = buildwright("try", "-b", "strict", "--wait", "--json", "--url", trier.url, cwd=copy / ".", env=WHO)
    assert done.code == 1
    told = done.json
    assert list(told["builds"]) == list(told["buildrequests"]) == ["strict"]
    assert told["builds"]["strict"]["results"] == 2


def test_what_would_be_sent_is_shown_and_nothing_is_sent(copy: Path) -> None:
    (copy / "below").mkdir()
    done = buildwright("try", "--dryrun", "-p", "x=1", "--properties", "y=2,z=3", cwd=copy / "below", env=WHO)
    assert done.code == 0, done.err
    assert "branch: main\n" in done.out
    assert "who: Ann <ann@example.org>\n" in done.out
    assert "properties: y=2, z=3, x=1\n" in done.out
    assert "+++ b/greeting\n" in done.out
    assert "+good day, all\n" in done.out
    job = buildwright("try", "--dryrun", "--json", cwd=copy, env=WHO).json
    assert b"GIT binary patch" in base64.b64decode(job["patch_body_base64"])


def test_a_difference_from_elsewhere(trier: Master, copy: Path, tmp_path: Path) -> None:
    diff = tmp_path / "some.diff"
    diff.write_text("--- greeting\n+++ greeting\n@@ -1 +1 @@\n-good day\n+good day and night\n")
    given = (
        "try",
        "--diff",
        diff,
        "--baserev",
        run("git", "rev-parse", "origin/main", cwd=copy),
        "-b",
        "strict",
    )
    done = buildwright(*given, "--branch", "main", "--wait", "--url", trier.url, cwd=tmp_path, env=WHO)
    assert done.code == 0, done.out + done.err
    assert "--baserev" in failed("try", "--diff", diff, "--url", trier.url, cwd=tmp_path)


def test_a_job_by_its_directory(trier: Master, copy: Path) -> None:
    eventually((trier.basedir / "jobs/cur").is_dir, "the directory is watched")
    done = buildwright("try", "--jobdir", trier.basedir / "jobs", "--json", cwd=copy, env=WHO)
    assert done.code == 0, done.err
    job = Path(done.json["job"])
    eventually((trier.basedir / "jobs/cur" / job.name).exists, "the job is taken")
    done = buildwright("try", "--jobdir", copy, cwd=copy, env=WHO)
    assert done.code == 1
    assert "is no job directory" in done.err


def test_a_job_over_ssh(trier: Master, copy: Path) -> None:
    """What a client runs at the master's machine: the job in the oldest form, as Buildbot's may send it."""
    jobs = trier.basedir / "jobs"
    eventually((jobs / "cur").is_dir, "the directory is watched")
    base = run("git", "rev-parse", "origin/main", cwd=copy)
    diff = b"--- a/greeting\n+++ b/greeting\n@@ -1 +1 @@\n-good day\n+good day, ssh\n"
    words = [b"1", b"an id", b"main", base.encode(), b"1", diff, b"show"]
    job = b"".join(b"%d:%s," % (len(word), word) for word in words)
    before = {path.name for path in (jobs / "cur").iterdir()}
    done = buildwright("tryserver", "--jobdir", jobs, stdin=job)
    assert (done.code, done.out, done.err) == (0, "", "")
    eventually(lambda: {path.name for path in (jobs / "cur").iterdir()} - before, "the job is taken")
    eventually(lambda: "good day, ssh" in buildwright("log", "show", "--url", trier.url).out, "it is built")


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (b"", "its version is ''"),
        (b"1:9,", "its version is '9', and 1 to 6 are known"),
        (b"nonsense", "it is no row of netstrings"),
        (b"1:5,9:{not json},", "the one at byte 4 has no end"),
        (b"1:5,10:{not json},", "its JSON can't be read"),
    ],
)
def test_what_is_no_job_is_refused_over_ssh(trier: Master, job: bytes, problem: str) -> None:
    jobs = trier.basedir / "jobs"
    eventually((jobs / "cur").is_dir, "the directory is watched")
    before = sorted(jobs.rglob("*"))
    done = buildwright("tryserver", "--jobdir", jobs, stdin=job)
    assert done.code == 1
    assert "what came is no try job: " in done.err
    assert problem in " ".join(done.err.split())
    assert sorted(jobs.rglob("*")) == before


def test_the_builders_to_choose_from(trier: Master, copy: Path) -> None:
    assert succeeded("try", "--get-builder-names", "--url", trier.url).out == "show\nstrict\n"
    refused = failed("try", "-b", "shew", "--url", trier.url, cwd=copy)
    assert "Try_Userpass 'try' doesn't start shew, only show, strict" in refused


def test_outside_of_a_working_copy(tmp_path: Path) -> None:
    assert "is in no working copy of git or hg" in failed("try", "--dryrun", cwd=tmp_path)
    run("git", "init", "-q", "-b", "main", ".", cwd=tmp_path)
    assert "has no upstream" in failed("try", "--dryrun", cwd=tmp_path)


def test_a_password_in_the_repositorys_address_is_not_sent(copy: Path) -> None:
    run("git", "remote", "set-url", "origin", "https://ann:hidden@example.org/app.git", cwd=copy)
    job = buildwright("try", "--dryrun", "--json", cwd=copy, env=WHO)
    assert job.json["repository"] == "https://example.org/app.git"
    assert "hidden" not in job.out + job.err


def test_a_working_copy_of_mercurial(tmp_path: Path) -> None:
    run("hg", "init", "upstream", cwd=tmp_path)
    (tmp_path / "upstream/greeting").write_text("good day\n")
    run("hg", "add", "greeting", cwd=tmp_path / "upstream")
    run("hg", "commit", "-m", "begin", cwd=tmp_path / "upstream")
    run("hg", "clone", "-q", "upstream", "copy", cwd=tmp_path)
    copy = tmp_path / "copy"
    base = run("hg", "log", "-r", ".", "--template", "{node}", cwd=copy)
    (copy / "new").write_text("a file\n")
    run("hg", "add", "new", cwd=copy)
    run("hg", "commit", "-m", "more", cwd=copy)
    (copy / "greeting").write_text("good day, all\n")
    (copy / "stray").write_text("nobody has added this\n")
    done = buildwright("try", "--dryrun", "--json", cwd=copy, env=WHO)
    job = done.json
    assert (job["baserev"], job["branch"], job["patch_level"]) == (base, "default", 1)
    assert job["repository"] == str(tmp_path / "upstream")
    diff = base64.b64decode(job["patch_body_base64"]).decode()
    assert "+good day, all" in diff
    assert "+a file" in diff
    assert "nobody" not in diff


def test_a_change_is_sent(trier: Master, tmp_path: Path) -> None:
    (tmp_path / "message").write_text("why\nand how\n")
    given: list[str | Path] = [
        "--author",
        "ann",
        "-b",
        "main",
        "-r",
        "abc",
        "--property",
        "x=1",
        "--logfile",
        tmp_path / "message",
    ]
    told = succeeded("sendchange", *given, "--id", "push-1", "--json", "--url", trier.url, "a", "b").json
    again = succeeded("sendchange", *given, "--id", "push-1", "--json", "--url", trier.url, "a", "b").json
    assert again == told
    with urllib.request.urlopen(f"{trier.url}/api/v2/changes/{told['changeid']}") as answer:
        [change] = json.load(answer)["changes"]
    expected = {"author": "ann", "branch": "main", "revision": "abc", "files": ["a", "b"]}
    assert {name: change[name] for name in expected} == expected
    assert change["comments"] == "why\nand how\n"
    assert change["properties"]["x"] == ["1", "Change"]


def test_a_change_outside_of_the_sources_prefix_is_not_taken(trier: Master) -> None:
    given = ["--author", "ann", "--auth", "change:changepw", "--url", trier.url]
    assert "Not taken" in succeeded("sendchange", *given, "other/x").out
    assert json.loads(succeeded("sendchange", *given, "--json", "sub/x").raw)["changeid"]
    assert "passwd" in failed("sendchange", "--author", "ann", "--auth", "change:x", "--url", trier.url, "a")
