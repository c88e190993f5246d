"""Configurations with errors: all are told at once; a master that is asked to load one goes on as it was."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.robust.support import HEAD, done, force, no_traceback, ready, said, started, told
from tests.support.processes import Farm, eventually, farm

GOOD = """
builder("b", job("long", 3), job("after", 0.1))
"""

# Five errors, the last of them a module with a syntax error, imported in the file's last line.
BAD = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['www'] = {'port': PORT}
c['workers'] = [worker.Worker("w", "pw")]
c['titel'] = "My master"
f = util.BuildFactory([steps.ShellCommand(command="true")])
c['builders'] = [
    util.BuilderConfig(name="b", workernames=["w"], factory=f),
    util.BuilderConfig(name="b", workernames=["w"], factory=f),
    util.BuilderConfig(name="c", workernames=["v"], factory=f),
]
c['title'] = 7
import broken
"""
WANTED = [
    ("master.cfg", "unknown key c['titel']", "'title'"),
    ("master.cfg", "two builders named 'b'", "the first is at"),
    ("master.cfg", "builder 'c' has the unknown worker 'v'", "c['workers']"),
    ("master.cfg", "c['title'] must be text, not int 7", "'7'"),
    ("broken.py", "SyntaxError", "imported at"),
]


def configure_badly(made: Farm) -> None:
    (made.basedir / "broken.py").write_text("import os\n\n\ndef broken(:\n    pass\n")
    made.configure(BAD)


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "buildwright",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def check_errors(made: Farm, errors: list[dict[str, Any]]) -> None:
    lines = (made.basedir / "master.cfg").read_text().splitlines()
    assert len(errors) == 5, errors
    for error, (file, message, hint) in zip(errors, WANTED, strict=True):
        path = Path(error["file"])
        assert path == made.basedir / file
        assert message in error["message"]
        assert hint in (error["hint"] or ""), error
    numbers = [error["line"] for error in errors]
    assert "titel" in lines[numbers[0] - 1]
    assert numbers[2] == numbers[1] + 1
    assert '"v"' in lines[numbers[2] - 1]
    assert "= 7" in lines[numbers[3] - 1]
    assert numbers[4] == 4


async def test_all_errors_at_once(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        configure_badly(made)
        code, out, _ = await run("check", "--json", str(made.basedir))
        assert code == 1
        check_errors(made, json.loads(out)["errors"])
        code, out, err = await run("check", str(made.basedir))
        text = out + err
        assert code == 1
        assert text.count(": error: ") == 5
        for file, message, hint in WANTED:
            assert f"{made.basedir / file}:" in text
            assert message in text
            assert hint in text
        assert "Traceback" not in text
        code, out, err = await run("start", str(made.basedir))
        assert code == 1
        assert (out + err).count(": error: ") == 5
        assert "Traceback" not in out + err
        assert not (made.basedir / "state.sqlite").exists(), (
            "nothing is made for a configuration that can't run"
        )


async def test_a_bad_reload_touches_nothing(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        await ready(made, GOOD, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        configure_badly(made)
        made.master.signal(signal.SIGHUP)
        await eventually(lambda: said(made, "unknown key c['titel']"), "the master says what is wrong")
        for file, message, hint in WANTED:
            assert message in told(made)
            assert hint in told(made)
            assert str(made.basedir / file) in told(made)
        code, out, _ = await run("reload", "--json", str(made.basedir))
        assert code == 1
        check_errors(made, json.loads(out)["errors"])
        builders = (await made.api.get("builders"))["builders"]
        assert [each["name"] for each in builders] == ["b"]
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")
        await force(made, "b")
        assert [build["results"] for build in await done(made, 2)] == [0, 0]
        made.configure(HEAD + GOOD + "builder('new', job('new', 0.1))\n")
        code, out, _ = await run("reload", "--json", str(made.basedir))
        assert code == 0, out
        await force(made, "new")
        assert [build["results"] for build in await done(made, 3)] == [0, 0, 0]
        no_traceback(made)


async def test_a_reload_under_running_builds(tmp_path: Path) -> None:
    """A running build keeps the configuration that it began with: its steps, its builder, its worker."""
    first = """
builder("changes", job("changes", 2.5), job("old", 0.1))
builder("goes", job("goes", 2.5), job("gone", 0.1))
c['workers'].append(worker.Worker("v", "pw"))
builder("loses", job("loses", 2.5), job("lost", 0.1), workernames=["v"])
"""
    second = """
builder("changes", job("changed", 0.1), job("new", 0.1))
builder("other", job("other", 0.1))
builder("loses", job("loses2", 0.1))
"""
    async with farm(tmp_path) as made:
        await ready(made, first, "w", "v")
        for name in ("changes", "goes", "loses"):
            await force(made, name)
        for name in ("changes", "goes", "loses"):
            await eventually(lambda: started(made, name), "the command runs")  # noqa: B023 - awaited here
        made.configure(HEAD + second)
        code, out, _ = await run("reload", "--json", str(made.basedir))
        assert code == 0, out
        assert [made.starts(name) for name in ("old", "gone", "lost")] == [0, 0, 0], (
            "all are still in their first step"
        )
        await force(made, "other")
        builds = await done(made, 4)
        assert [build["results"] for build in builds] == [0, 0, 0, 0], builds
        assert [made.starts(name) for name in ("old", "gone", "lost", "changed", "new")] == [1, 1, 1, 0, 0]
        await force(made, "changes")
        await force(made, "loses")
        builds = await done(made, 6)
        assert [build["results"] for build in builds] == [0] * 6, builds
        assert [made.starts(name) for name in ("changed", "new", "loses2", "loses")] == [1, 1, 1, 1]
        answer = await made.api._session.post(
            f"{made.api.base}/api/v2/forceschedulers/force-goes",
            json={"jsonrpc": "2.0", "id": 1, "method": "force", "params": {}},
        )
        assert answer.status == 404, "the removed one's scheduler is gone"
        no_traceback(made)
