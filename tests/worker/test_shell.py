"""The command "shell", with real processes."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from buildwright_worker.agent import Agent
from tests.worker.support import FakeMaster, alive, config_for, descriptors, eventually, running_agent

pytestmark = pytest.mark.usefixtures("agent")


async def test_output_streams_and_exit_code(fake_master: FakeMaster, basedir: Path) -> None:
    done = await fake_master.run("c", command=["sh", "-c", "echo out; echo err >&2; exit 3"], workdir="build")
    assert (done.rc, done.failure, done.result.signal) == (3, None, None)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert done.headers.startswith(
        f"sh -c 'echo out; echo err >&2; exit 3'\n in dir {basedir}/build (no time limits)\n"
    )
    assert " environment:\n" in done.headers
    assert f"  PWD={basedir}/build\n" in done.headers
    assert "program finished with exit code 3\nelapsedTime=0." in done.headers
    assert done.result.elapsed_us > 0


async def test_text_goes_to_a_shell_and_log_environ_can_be_off(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="echo $0 | tr a-z A-Z", logEnviron=False)
    assert done.stdout == b"/BIN/SH\n"
    assert "environment" not in done.headers


async def test_bytes_stay_bytes_and_a_last_line_needs_no_newline(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command=["printf", r"\377\000\200 caf\351"])
    assert done.stdout == b"\xff\x00\x80 caf\xe9"


async def test_a_short_command_costs_one_frame(fake_master: FakeMaster) -> None:
    await fake_master.run("warm-up", command=["true"])
    fake_master.frames.clear()
    await fake_master.run("c", command=["true"], logEnviron=False)
    frames = [count for _, count in fake_master.frames]
    assert sum(frames) == 3
    assert len(frames) <= 2  # on a busy machine its header may have set out before


async def test_a_header_does_not_wait_for_output(fake_master: FakeMaster) -> None:
    await fake_master.begin("c", command=["sleep", "1000"])
    await fake_master.until_output("c", b" process ", "h")
    fake_master.interrupt("c")
    await fake_master.outcome("c")


async def test_command_not_found(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command=["no-such-command", "x"])
    assert (done.rc, done.failure, done.result.error) == (127, "spawn", "command not found: no-such-command")
    assert "command not found: no-such-command\n" in done.headers
    assert "Traceback" not in done.headers


async def test_a_file_that_is_no_program(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "data").write_text("x")
    done = await fake_master.run("c", command=["./data"])
    assert (done.rc, done.failure) == (126, "spawn")
    assert done.result.error == "can't run ./data: Permission denied"


async def test_a_missing_workdir_is_made_or_is_an_error(fake_master: FakeMaster, basedir: Path) -> None:
    done = await fake_master.run("c1", command=["pwd"], workdir="a/b")
    assert done.stdout == f"{basedir}/a/b\n".encode()
    done = await fake_master.run("c2", command=["pwd"], workdir="missing", mkdir=False)
    assert (done.rc, done.failure) == (-1, "spawn")
    assert done.result.error == f"can't use the directory {basedir}/missing: No such file or directory"
    (basedir / "file").touch()
    done = await fake_master.run("c3", command=["pwd"], workdir="file/sub")
    assert done.failure == "spawn"
    assert done.result.error is not None
    assert done.result.error.startswith(f"can't use the directory {basedir}/file/sub: Not a directory")


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ({}, "shell: command must be text or a list of texts that is not empty"),
        ({"command": []}, "shell: command must be text"),
        ({"command": ["a", 1]}, "shell: command must be text"),
        ({"command": ["a\0b"]}, "shell: command must not contain NUL"),
        ({"command": "x", "workdir": 1}, "shell: workdir must be text, not int"),
        ({"command": "x", "env": {"A=B": "x"}}, "shell: env: 'A=B' can't be the name of a variable"),
        ({"command": "x", "env": {"A": "x\0"}}, "shell: env: A contains a NUL"),
        ({"command": "x", "timeout": "soon"}, "shell: timeout must be a number"),
        (
            {"command": "x", "interruptSignal": "NOSUCH"},
            "shell: interruptSignal: there is no signal 'NOSUCH'",
        ),
        ({"command": "x", "logfiles": ["a"]}, "shell: logfiles must be a map"),
        ({"command": "x", "logfiles": {"a": {"file": "x"}}}, "shell: filename must be text, not missing"),
        ({"command": "x", "initialStdin": 1}, "shell: initialStdin must be text or bytes"),
    ],
)
async def test_arguments_that_make_no_sense(fake_master: FakeMaster, args: dict[str, Any], what: str) -> None:
    done = await fake_master.run("c", **args)
    assert done.failure == "spawn"
    assert done.result.error is not None
    assert done.result.error.startswith(what)
    assert done.headers == f"{done.result.error}\n"


async def test_an_unknown_kind(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", kind="teleport")
    assert done.result.error is not None
    assert done.result.error.endswith("and has no command 'teleport': upgrade it")


async def test_killed_by_a_signal(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command=["sh", "-c", "kill -USR1 $$"])
    assert (done.rc, done.result.signal, done.failure) == (-1, signal.SIGUSR1, None)
    assert (
        f"process killed by signal {int(signal.SIGUSR1)}\nprogram finished with exit code -1\n"
        in done.headers
    )


async def test_environment(fake_master: FakeMaster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"BW_A": "a", "BW_B": "b", "PYTHONPATH": "own"}.items():
        monkeypatch.setenv(name, value)
    async with running_agent(config_for(tmp_path / "other", fake_master.url)):
        await fake_master.until(lambda: len(fake_master.hellos) == 2)
        done = await fake_master.run(
            "c",
            command=["env"],
            env={
                "BW_A": None,
                "BW_C": "${BW_B}-${NOT_SET}-$BW_B",
                "BW_D": ["x", "y"],
                "PYTHONPATH": "more",
                "BW_E": 5,
            },
        )
    variables = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
    assert "BW_A" not in variables
    assert variables["BW_B"] == "b"
    assert variables["BW_C"] == "b--$BW_B"
    assert variables["BW_D"] == f"x{os.pathsep}y"
    assert variables["BW_E"] == "5"
    assert variables["PYTHONPATH"] == f"more{os.pathsep}own"
    assert variables["BUILDWRIGHT_COMMAND"].endswith("/c")


async def test_unwanted_streams_are_read_and_not_sent(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="seq 1 100000; echo err >&2", want_stdout=False)
    assert (done.rc, done.stdout, done.stderr) == (0, b"", b"err\n")
    done = await fake_master.run("d", command="seq 1 10; seq 1 100000 >&2", want_stderr=False)
    assert done.stderr == b""
    assert done.stdout.endswith(b"10\n")


async def test_p5_a_lot_of_output_arrives_byte_for_byte(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command=["seq", "1", "2000000"])
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 2000001))


async def test_initial_stdin(fake_master: FakeMaster) -> None:
    text = "grüße\n" * 20000
    done = await fake_master.run("c1", command=["cat"], initialStdin=text)
    assert done.stdout.decode() == text
    done = await fake_master.run("c2", command=["cat"], initialStdin=b"\xff\x00")
    assert done.stdout == b"\xff\x00"
    done = await fake_master.run("c3", command=["cat"], initialStdin="")
    assert (done.rc, done.stdout) == (0, b"")
    done = await fake_master.run("c4", command=["true"], initialStdin="x" * 500000)
    assert done.rc == 0
    done = await fake_master.run("c5", command=["cat"])
    assert (done.rc, done.stdout) == (0, b"")


# Limits


async def test_timeout_without_output(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="echo begin; sleep 1000", timeout=0.3)
    assert (done.rc, done.failure, done.result.signal) == (-1, "timeout_without_output", signal.SIGKILL)
    assert done.stdout == b"begin\n"
    assert "command timed out: 0.3 seconds without output, attempting to kill\n" in done.headers


async def test_output_keeps_a_command_going_but_not_beyond_max_time(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="while :; do echo x; sleep 0.1; done", timeout=0.6, maxTime=1.5)
    assert (done.rc, done.failure) == (-1, "timeout")
    assert done.stdout.count(b"x\n") > 5
    assert "command timed out: 1.5 seconds elapsed, attempting to kill\n" in done.headers


async def test_max_lines(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="seq 1 100; sleep 1000", max_lines=10)
    assert (done.rc, done.failure) == (-1, "max_lines_failure")
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 11))
    done = await fake_master.run("d", command="seq 1 10", max_lines=10)
    assert (done.rc, done.failure) == (0, None)


# Ends


async def test_interrupt(fake_master: FakeMaster) -> None:
    await fake_master.begin("c", command="echo on; sleep 1000")
    await fake_master.until_output("c", b"on\n")
    fake_master.interrupt("c", "not needed")
    done = await fake_master.outcome("c")
    assert (done.rc, done.failure, done.result.signal) == (-1, "interrupted", signal.SIGKILL)
    assert "command interrupted: not needed, attempting to kill\n" in done.headers


async def test_the_gentle_signal_comes_first(fake_master: FakeMaster) -> None:
    await fake_master.begin(
        "c", command="trap 'echo bye; exit 7' TERM; echo on; while :; do sleep 0.05; done", sigtermTime=30
    )
    await fake_master.until_output("c", b"on\n")
    fake_master.interrupt("c")
    done = await fake_master.outcome("c")
    assert (done.rc, done.failure, done.stdout) == (7, "interrupted", b"on\nbye\n")


async def test_interrupt_signal(fake_master: FakeMaster) -> None:
    await fake_master.begin(
        "c",
        command="trap 'echo int; exit 9' INT; echo on; while :; do sleep 0.05; done",
        interruptSignal="INT",
    )
    await fake_master.until_output("c", b"on\n")
    fake_master.interrupt("c")
    done = await fake_master.outcome("c")
    assert (done.rc, done.stdout) == (9, b"on\nint\n")


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
os.write(1, b"%d\\n" % os.getpid())
time.sleep(1000)
"""


async def test_p7_no_result_before_a_stubborn_family_is_dead(fake_master: FakeMaster) -> None:
    await fake_master.begin("c", command=[sys.executable, "-c", STUBBORN], sigtermTime=0.2)
    await fake_master.until(lambda: fake_master.output("c").count(b"\n") == 3)
    pids = [int(line) for line in fake_master.output("c").split()]
    assert all(map(alive, pids))
    fake_master.interrupt("c")
    done = await fake_master.outcome("c")
    assert not any(map(alive, pids))
    assert (done.failure, done.result.signal) == ("interrupted", signal.SIGKILL)


async def test_p7_what_is_left_in_the_group_is_killed_at_a_normal_end(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="sleep 1000 >/dev/null 2>&1 </dev/null & echo $!")
    assert done.rc == 0
    assert not alive(int(done.stdout))


async def test_descendants_that_hold_the_pipes_belong_to_the_command(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="(sleep 0.3; echo late) & echo early")
    assert (done.rc, done.stdout) == (0, b"early\nlate\n")
    done = await fake_master.run("d", command="sleep 1000 & echo early", timeout=0.3)
    assert (done.failure, done.stdout) == ("timeout_without_output", b"early\n")


async def test_a_process_that_closes_its_output_and_goes_on(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="exec >&- 2>&-; sleep 0.3; exit 5")
    assert done.rc == 5
    done = await fake_master.run("d", command="exec >&- 2>&-; sleep 1000", maxTime=0.3)
    assert (done.rc, done.failure) == (-1, "timeout")


UNKNOWN = """
import os, subprocess, time
if os.fork() == 0:
    os.setsid()
    os.write(1, b"%d\\n" % os.getpid())
    os.execve("/bin/sleep", ["sleep", "1000"], {})
time.sleep(1000)
"""


async def test_a_stranger_that_holds_the_pipes_does_not_hold_the_result(fake_master: FakeMaster) -> None:
    await fake_master.begin("c", command=[sys.executable, "-c", UNKNOWN])
    await fake_master.until_output("c", b"\n")
    stranger = int(fake_master.output("c"))
    await eventually(lambda: Path(f"/proc/{stranger}/environ").read_bytes() == b"")
    fake_master.interrupt("c")
    done = await fake_master.outcome("c")
    assert done.failure == "interrupted"
    assert "holds the output open" in done.headers
    os.kill(stranger, signal.SIGKILL)


# Terminals


async def test_terminal(fake_master: FakeMaster) -> None:
    done = await fake_master.run(
        "c", command="test -t 0 && test -t 1 && tty >/dev/tty && echo yes; echo e >&2", usePTY=True
    )
    assert done.rc == 0
    assert done.stdout.startswith(b"/dev/pts/")
    assert done.stdout.endswith(b"\r\nyes\r\ne\r\n")
    assert done.stderr == b""


async def test_terminal_with_input(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="stty -echo; cat", initialStdin="one\ntwo\n", usePTY=True)
    assert done.rc == 0
    assert done.stdout.endswith(b"one\r\ntwo\r\n")
    done = await fake_master.run("d", command="stty -echo; cat", initialStdin="no end", usePTY=True)
    assert done.stdout.endswith(b"no end")


async def test_interrupt_on_a_terminal(fake_master: FakeMaster) -> None:
    await fake_master.begin("c", command="echo on; sleep 1000", usePTY=True)
    await fake_master.until_output("c", b"on")
    fake_master.interrupt("c")
    assert (await fake_master.outcome("c")).failure == "interrupted"


# Secrets


async def test_p9_secrets_are_masked_everywhere(fake_master: FakeMaster, basedir: Path) -> None:
    secret = "hunter2'x"
    done = await fake_master.run(
        "c",
        secrets=[("PW", secret)],
        command=[
            "sh",
            "-c",
            'printf hunt; sleep 0.2; echo "er2\'x"; echo "$PW" >&2; echo "$PW" >log; exit 1',
            secret,
        ],
        env={"PW": secret},
        logfiles={"log": "log"},
    )
    everything = repr(done.records)
    assert "hunter2" not in everything
    assert done.stdout == b"<PW>\n"
    assert done.stderr == b"<PW>\n"
    assert done.stream("l", "log") == b"<PW>\n"
    assert "PW=<PW>" in done.headers
    for path in (basedir / ".buildwright").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


async def test_nothing_is_left_open(fake_master: FakeMaster, agent: Agent) -> None:
    await fake_master.run("c0", command=["true"])
    before = descriptors()
    for number in range(5):
        await fake_master.run(f"t{number}", command=["cat"], initialStdin="x")
        await fake_master.run(f"p{number}", command=["true"], usePTY=True)
        await fake_master.run(f"n{number}", command=["no-such-command"])
    assert descriptors() == before
