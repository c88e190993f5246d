"""Command lines on the master."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from buildwright.model.errors import Collector, collected, collecting
from buildwright.model.results import CANCELLED, FAILURE, RETRY, SUCCESS
from tests.steps.conftest import Start
from tests.support.processes import eventually
from tests.worker.support import alive


async def test_a_command(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.MasterShellCommand(command="pwd; echo $ONE $TWO; echo oops >&2; cat",
        env={"ONE": util.Property("buildername"), "TWO": ["${HOME}", "x"], "PYTHONPATH": None}),
    steps.MasterShellCommand(command=["sh", "-c", "pwd; exit 3"], workdir="sub", logEnviron=False,
        haltOnFailure=False, name="sub"),
    steps.MasterShellCommand("nothing of the kind", name="missing", haltOnFailure=False),
    steps.MasterShellCommand(["/nothing/of/the/kind"], name="absent"))
"""
    )
    (it.basedir / "sub").mkdir()
    built = await it.build()
    assert built.outline == [
        ("MasterShellCommand", SUCCESS),
        ("sub", FAILURE),
        ("missing", FAILURE),
        ("absent", FAILURE),
    ], built
    log = built.log("MasterShellCommand")
    assert log.out.decode() == f"{it.basedir}\nb {os.environ['HOME']}:x\n"
    assert log.err == b"oops\n"
    assert b"  ONE=b\n" in log.header
    assert b"program finished with exit code 0" in log.header
    assert built.log("sub").out.decode() == f"{it.basedir / 'sub'}\n"
    assert b"environment" not in built.log("sub").header
    assert b"exit code 3" in built.log("sub").header
    assert b"can't be started" in built.log("absent").header
    assert built.step("MasterShellCommand").state == "'pwd; echo ...'"


async def test_a_terminal(start: Start) -> None:
    it = await start(
        'builder("b", steps.MasterShellCommand("test -t 0 && test -t 1 && echo yes", usePTY=True))'
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.log("MasterShellCommand").out == b"yes\r\n"


async def test_secrets_are_masked(start: Start, tmp_path: Path) -> None:
    """P9, also when the value comes in two writes."""
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "secrets/key").write_text("correct horse")
    (tmp_path / "secrets/key").chmod(0o600)
    it = await start(
        f"""
c["secretsProviders"] = [secrets.SecretInAFile({str(tmp_path / "secrets")!r})]
builder("b", steps.MasterShellCommand("printf 'correct '; sleep 0.1; echo horse; echo $KEY >&2",
    env={{"KEY": util.Secret("key")}}))
"""
    )
    built = await it.build()
    log = built.log("MasterShellCommand")
    assert (log.out, log.err) == (b"<key>\n", b"<key>\n")
    assert b"horse" not in log.header.replace(b"echo horse", b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("command=5", "command must be text or a list, not int 5"),
        ("'true', env=['A=1']", "env must be a dict, not list"),
        ("'true', runtime_timeout='60'", "runtime_timeout must be a number of seconds or None, not str '60'"),
        ("'true', interruptSignal='STOPIT'", "there is no signal 'STOPIT' (as in 'KILL' or 'TERM')"),
        ("'true', usePTTY=1", "no argument 'usePTTY' (did you mean 'usePTY'?)"),
    ],
)
def test_what_is_wrong_is_told(arguments: str, message: str) -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        exec(f"from buildwright.plugins import steps\nsteps.MasterShellCommand({arguments})", {})
    finally:
        collected(token)
    (found,) = collector.errors
    assert message in str(found)


@pytest.mark.parametrize("gently", ["KILL", "TERM"])
async def test_a_stop_kills_the_process_group(start: Start, gently: str) -> None:
    it = await start(
        f"""
builder("b", steps.MasterShellCommand("trap 'echo bye; exit 1' TERM; sleep 1000 & echo $$ $!; wait",
    interruptSignal={gently!r}))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"\n")
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("MasterShellCommand", CANCELLED)], built
    log = built.log("MasterShellCommand")
    pids = [int(word) for word in log.out.split()[:2]]
    assert not any(alive(pid) for pid in pids)
    assert b"command interrupted" in log.header
    assert (b"bye" in log.out) == (gently == "TERM")


async def test_the_time_limit(start: Start) -> None:
    it = await start(
        'builder("b", steps.MasterShellCommand("echo begun; exec sleep 1000", runtime_timeout=0.3))'
    )
    built = await it.build()
    assert built.outline == [("MasterShellCommand", FAILURE)]
    log = built.log("MasterShellCommand")
    assert log.out == b"begun\n"
    assert b"command timed out: 0.3 seconds elapsed" in log.header
    assert b"killed by signal 9" in log.header


async def test_p4_a_master_that_goes_in_the_middle_means_another_attempt(start: Start) -> None:
    """P4: what ran on the master can't be gone on with: it is dead, and the request is tried again."""
    it = await start(
        """
builder("b", steps.MasterShellCommand("echo $$; [ -e again ] && exit 0; touch again; exec sleep 1000"))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"\n")
    await it.restart()
    built = await it.finished(request)
    first, second = await it.builds(request)
    assert first.results == RETRY
    assert "work on the master was under way" in first.state
    assert not alive(int(first.log("MasterShellCommand").out))
    assert second.results == built.results == SUCCESS


async def test_it_does_not_outlive_its_master(tmp_path: Path) -> None:
    """The watchdog kills its group when the master is gone without a word."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import asyncio, os
from buildwright.steps.masterprocess import MasterProcess
async def main():
    script = "sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait"
    held = await MasterProcess.start(["sh", "-c", script], ".", os.environ, pty=False)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    )
    process = await asyncio.create_subprocess_exec(sys.executable, program, cwd=tmp_path)

    async def begun() -> bool:
        return (tmp_path / "pids").exists()

    async def gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await eventually(begun, "the command begins", pause=0.01)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert all(alive(pid) for pid in pids)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await eventually(gone, "the command is killed", pause=0.01)
