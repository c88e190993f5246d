"""`buildwright force`, `builds` and `log`."""

import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.support import Master, buildwright, environment, eventually, failed, spawn, succeeded

BYTES = bytes(range(256)) * 4


def test_a_build_is_followed_to_its_end(shared: Master) -> None:
    done = succeeded("force", "green", "--follow", cwd=shared.basedir)
    assert "==> 0 step0" in done.out
    assert "all is well" in done.out
    assert "<== 1 step1: success after" in done.out
    assert "environment" not in done.out
    assert re.search(r"Build \d+: success after", done.out)


def test_a_build_that_fails_is_exit_code_1(shared: Master) -> None:
    done = buildwright("force", "red", "--scheduler", "force", "-f", "--url", shared.url)
    assert done.code == 1
    assert "out\nerr\n" in done.out or "err\nout\n" in done.out
    assert "<== 0 step0: failure" in done.out
    again = buildwright("log", "-f", "red", "--url", shared.url)
    assert again.code == 1
    assert "<== 0 step0: failure" in again.out


def test_what_was_asked_for_is_the_builds(shared: Master) -> None:
    given = ["-p", "version=2", "-p", "kinds=a", "-p", "kinds=b", "--reason", "a test", "--branch", "topic"]
    told = succeeded("force", "green", *given, "--follow", "--json", "--url", shared.url).json
    assert told["results"] == 0
    [build] = succeeded("builds", "green", "-n", "1", "--json", "--url", shared.url).json
    assert build["buildid"] == told["buildid"]
    values = {name: value for name, (value, _) in build["properties"].items()}
    wanted = {"version": "2", "kinds": ["a", "b"], "fixed": "always", "reason": "a test", "branch": "topic"}
    assert {name: values[name] for name in wanted} == wanted
    assert values["checked"] is True  # nobody said that it isn't
    off = succeeded("force", "green", "-p", "checked=false", "-f", "--json", "--url", shared.url).json
    [build] = [
        each
        for each in succeeded("builds", "green", "--json", "--url", shared.url).json
        if each["buildid"] == off["buildid"]
    ]
    assert build["properties"]["checked"][0] is False


def test_builders_of_any_name(shared: Master) -> None:
    done = succeeded("force", "odd/name 1", "--follow", cwd=shared.basedir)
    assert "odd" in done.out
    assert "odd" in succeeded("log", "odd/name 1", cwd=shared.basedir).out
    assert "odd" in succeeded("log", "odd/name 1/1", cwd=shared.basedir).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gren"], "there is no builder 'gren': did you mean 'green'?"),
        (["unforced"], "no force scheduler starts builder 'unforced'"),
        (["red"], "choose with --scheduler of force, second"),
        (["red", "--scheduler", "secnd"], "did you mean 'second'?"),
        (["red", "--scheduler", "second", "--branch", "x"], "say with --codebase which of '', 'lib'"),
        (["red", "--scheduler", "second", "--codebase", "", "--branch", "x"], "--branch: with the force"),
        (["red", "--scheduler", "second", "--codebase", "lb"], "has no codebase 'lb'"),
        (["green", "-p", "versoin=2"], "has no field 'versoin': did you mean 'version'?"),
        (["green", "-p", "fixed=2"], "'fixed' is fixed"),
        (["green", "-p", "version=1", "-p", "version=2"], "given more than once"),
        (["green", "-p", "kinds=c"], "kinds: 'kinds' has to be one of a, b"),
    ],
)
def test_what_cannot_be_asked_for(shared: Master, arguments: list[str], said: str) -> None:
    assert said in failed("force", *arguments, cwd=shared.basedir)


def test_a_follower_waits_for_a_master_that_was_killed(master: Master, tmp_path: Path) -> None:
    follow = spawn(tmp_path / "follow", "force", "gated", "--follow", "--url", master.url)
    eventually(lambda: "waiting\n" in follow.text, "the first line is shown")
    os.kill(master.pid, signal.SIGKILL)
    eventually(lambda: "no master answers" in follow.text, "it says that nobody answers")
    master.start()
    master.open_gate()
    assert follow.wait() == 0
    assert follow.text.count("waiting\n") == 1
    assert "through\n" in follow.text
    assert master.starts == 1


def test_lists_of_builds(shared: Master) -> None:
    succeeded("force", "green", "--follow", "--url", shared.url)
    done = succeeded("builds", "green", "--limit", "1", cwd=shared.basedir)
    head, row = done.out.splitlines()
    assert head.split() == ["BUILD", "RESULT", "STARTED", "TOOK", "WORKER", "STATE"]
    assert re.match(r"green/\d+  success  just now", row)
    assert "has had no build yet" in succeeded("builds", "unforced", cwd=shared.basedir).out
    assert "no build running" in succeeded("builds", "unforced", "--running", cwd=shared.basedir).out
    assert "did you mean 'green'" in failed("builds", "grean", cwd=shared.basedir)


def test_exact_bytes(shared: Master) -> None:
    told = succeeded("force", "bytes", "--follow", "--json", cwd=shared.basedir).json
    build = str(told["buildid"])
    for stream, wanted in {"stdout": BYTES, "stderr": b"\xff"}.items():
        done = succeeded("log", build, "0", "stdio", "--raw", "--stream", stream, cwd=shared.basedir)
        assert done.raw == wanted
    assert b"Builder: bytes\n" in succeeded("log", build, "step0", "--raw", cwd=shared.basedir).raw
    succeeded("force", "green", "--follow", cwd=shared.basedir)
    assert "name it" in failed("log", "green", "--raw", cwd=shared.basedir)
    assert buildwright("log", build, "--stream", "stdout").code == 2
    assert buildwright("log", build, "--raw", "-f").code == 2


def test_parts_of_logs(shared: Master) -> None:
    succeeded("force", "green", "--follow", "--url", shared.url)
    whole = succeeded("log", "green", cwd=shared.basedir).out
    assert whole.index("all is well") < whole.index("the end")
    assert "the end" not in succeeded("log", "green", "step0", cwd=shared.basedir).out
    tail = succeeded("log", "green", "1", "stdio", "--tail", "3", cwd=shared.basedir).out
    assert tail.splitlines()[0] == "the end"
    assert len(tail.splitlines()) == 3
    assert " environment:" in succeeded("log", "green", "--environment", cwd=shared.basedir).out
    assert "no step 'stp0': did you mean 'step0'?" in failed("log", "green", "stp0", cwd=shared.basedir)
    assert "no log 'x': there are stdio" in failed("log", "green", "0", "x", cwd=shared.basedir)
    assert "there is no build green/999" in failed("log", "green/999", cwd=shared.basedir)
    assert "there is no build 99999" in failed("log", "99999", cwd=shared.basedir)
    assert "had no build yet" in failed("log", "unforced", cwd=shared.basedir)


def test_a_terminal_gets_colours_and_nothing_else_of_a_logs_escapes(shared: Master) -> None:
    succeeded("force", "colours", "--follow", "--url", shared.url)
    plain = succeeded("log", "colours", "0", "stdio", "--url", shared.url).out
    assert "\x1b[32mgreen\x1b[0m \x1b]0;title\x07plain \x1b[2J\n" in plain
    shown = on_a_terminal("log", "colours", "0", "stdio", "--url", shared.url)
    assert "\x1b[32mgreen\x1b[0m plain " in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\x1b[" not in on_a_terminal("builds", "--url", shared.url, NO_COLOR="1")
    assert "\x1b[32msuccess" in on_a_terminal("builds", "--url", shared.url)


def on_a_terminal(*arguments: str, **env: str) -> str:
    """What a command writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "buildwright", *arguments], environment(**env))
    written = b""
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:  # its end, as Linux tells of it
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, written
    return written.decode(errors="replace").replace("\r\n", "\n")
