"""Commands that go wrong in every way: result, state and log say what happened, in a line each."""

from __future__ import annotations

from pathlib import Path

from tests.robust.support import Seen, alive, done, force, no_traceback, ready, seen
from tests.support.processes import Farm, farm

SUCCESS, FAILURE = 0, 2

# Ignores SIGTERM; so do its child and its grandchild, in a session of its own. Their numbers go to a file.
STUBBORN = r"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
path, depth = sys.argv[1], int(sys.argv[2])
if depth:
    subprocess.Popen([sys.executable, __file__, path, str(depth - 1)], start_new_session=depth == 1)
with open(path, "a") as pids:
    pids.write(f"{os.getpid()}\n")
print("up", depth, flush=True)
time.sleep(600)
"""

CONFIG = r"""
LATIN = "import os; os.write(1, bytes(range(256))); os.write(2, b'\\xff\\xfe err')"
for name, arguments in {
    "not found": dict(command=["no-such-program", "argument"]),
    "not found by the shell": dict(command="no-such-program argument"),
    "not executable": dict(command=["/etc/passwd"]),
    "no workdir": dict(command=["true"], workdir="/proc/none/here"),
    "a file as workdir": dict(command=["true"], workdir="/etc/passwd"),
    "a signal": dict(command="kill -SEGV $$"),
    "exit code": dict(command="exit 3"),
    "no utf-8": dict(command=[PYTHON, "-c", LATIN]),
    "no newline": dict(command="printf 'no newline'"),
    "silence": dict(command="echo before; sleep 600", timeout=0.5),
    "too long": dict(command="while true; do echo line; sleep 0.05; done", maxTime=0.5),
    "too many lines": dict(command="yes", max_lines=10),
    "stubborn": dict(command=[PYTHON, STUBBORN, PIDS, "2"], timeout=1.5, sigtermTime=0.5),
    "stays behind": dict(command="sleep 600 >/dev/null 2>&1 & echo $! > pid; echo left"),
    "a nul": dict(command=["echo", "a\0b"]),
    "a long word": dict(command=["echo", "x" * 200_000]),
    "a huge command": dict(command=["echo"] + ["x" * 100_000] * 60),
    "odd argument": dict(command=["true"], env={"A=B": "c"}),
}.items():
    builder(name, steps.ShellCommand(name="job", logEnviron=False, **arguments))
"""

# What a user finds: the result, a part of the step's state, a part of its log.
EXPECTED = {
    "not found": (FAILURE, "(command not found: no-such-program)", "command not found: no-such-program\n"),
    "not found by the shell": (FAILURE, "(failure)", "no-such-program: not found\n"),
    "not executable": (FAILURE, "Permission denied", "can't run /etc/passwd: Permission denied\n"),
    "no workdir": (
        FAILURE,
        "can't use the directory",
        "can't use the directory /proc/none/here: No such file",
    ),
    "a file as workdir": (FAILURE, "can't use the directory", "can't use the directory /etc/passwd: "),
    "a signal": (FAILURE, "(killed by SIGSEGV)", "process killed by signal 11\n"),
    "exit code": (FAILURE, "(failure)", "program finished with exit code 3\n"),
    "no utf-8": (SUCCESS, "", ""),
    "no newline": (SUCCESS, "", ""),
    "silence": (
        FAILURE,
        "(timed out)",
        "command timed out: 0.5 seconds without output, attempting to kill\n",
    ),
    "too long": (FAILURE, "(timed out)", "command timed out: 0.5 seconds elapsed, attempting to kill\n"),
    "too many lines": (FAILURE, "(too many lines)", "more lines than max_lines allows, attempting to kill\n"),
    "stubborn": (FAILURE, "(timed out)", "process killed by signal 9\n"),
    "stays behind": (SUCCESS, "", "program finished with exit code 0\n"),
    "a nul": (FAILURE, "must not contain NUL", "command must not contain NUL characters\n"),
    "a long word": (FAILURE, "Argument list too long", "can't run echo: Argument list too long\n"),
    "a huge command": (FAILURE, "more than a frame's", "the command can't be sent to the worker"),
    "odd argument": (FAILURE, "env: 'A=B'", "env: 'A=B' can't be the name of a variable\n"),
}

OUTPUT = {
    "no utf-8": (bytes(range(256)), b"\xff\xfe err"),
    "no newline": (b"no newline", b""),
    "silence": (b"before\n", b""),
    "too many lines": (b"y\n" * 10, b""),
    "stays behind": (b"left\n", b""),
}


async def test_every_way_to_go_wrong(tmp_path: Path, db_url: str) -> None:
    script, pids = tmp_path / "stubborn.py", tmp_path / "pids"
    script.write_text(STUBBORN)
    async with farm(tmp_path) as made:
        head = f"STUBBORN, PIDS = {str(script)!r}, {str(pids)!r}\nc['db_url'] = {db_url!r}\n"
        await ready(made, head + CONFIG, "w")
        for name in EXPECTED:
            await force(made, name)
        builds = await done(made, len(EXPECTED))
        names = {each["builderid"]: each["name"] for each in (await made.api.get("builders"))["builders"]}
        found = {names[build["builderid"]]: await seen(made, build) for build in builds}
        assert sorted(found) == sorted(EXPECTED)
        wrong = [text for name, one in found.items() if (text := _wrong(name, one))]
        assert not wrong, "\n".join(wrong)
        _check_dead([*pids.read_text().split(), _left_behind(made)])
        no_traceback(made)


def _wrong(name: str, one: Seen) -> str:
    results, state, text = EXPECTED[name]
    build = "failed job (failure)" if results == FAILURE else "build successful"
    output = OUTPUT.get(name, (one.stdout, one.stderr))
    fits = (
        (one.results, one.build) == (results, build)
        and state in one.step
        and len(one.step) < 200
        and text in one.text
        and (one.stdout, one.stderr) == output
    )
    return "" if fits else f"{name}: {one}"


def _left_behind(made: Farm) -> str:
    (path,) = (made.directory / "workers" / "w").glob("stays*behind/build/pid")
    return path.read_text().strip()


def _check_dead(pids: list[str]) -> None:
    assert len(pids) == 4, "three stubborn ones, and one that was left behind"
    assert not [pid for pid in pids if alive(pid)], "nothing outlives its command"
