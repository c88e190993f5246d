"""P9: files with secrets are a command's own, and live no longer than it does."""

from pathlib import Path

import pytest

from tests.worker.support import FakeMaster, WorkerProcess, eventually

LOOK = 'cd "$BUILDWRIGHT_PRIVATE" && stat -c "%a %n" . * && cat key && pwd'
HANG = 'cat "$BUILDWRIGHT_PRIVATE/key"; exec sleep 1000'


def left(basedir: Path) -> list[Path]:
    return list((basedir / ".buildwright").glob("private/*"))


@pytest.mark.usefixtures("agent")
async def test_p9_only_the_owner_can_read_them_and_only_while_the_command_runs(
    fake_master: FakeMaster, basedir: Path
) -> None:
    done = await fake_master.run(
        "c", "shell-private", command=LOOK, private={"key": "one\n", "other": b"\xff"}
    )
    assert done.rc == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines == ["700 .", "600 key", "600 other", "one", f"{basedir}/.buildwright/private/c"]
    assert not left(basedir)
    assert "BUILDWRIGHT_PRIVATE" not in (await fake_master.run("d", command="env")).stdout.decode()


@pytest.mark.usefixtures("agent")
async def test_p9_an_interrupted_command_leaves_none(fake_master: FakeMaster, basedir: Path) -> None:
    await fake_master.begin(
        "c", "shell-private", command=HANG, private={"key": "one\n"}, secrets=[("k", "one")]
    )
    await fake_master.until_output("c", b"<k>\n")
    assert left(basedir)
    fake_master.interrupt("c")
    assert (await fake_master.outcome("c")).failure == "interrupted"
    assert not left(basedir)
    done = await fake_master.run("d", "shell-private", command=["no-such-command"], private={"key": "one\n"})
    assert done.failure == "spawn"
    assert not left(basedir)


@pytest.mark.parametrize("private", [{"../key": "x"}, {"a/b": "x"}, {"": "x"}, {"key": 3}, ["key"]])
@pytest.mark.usefixtures("agent")
async def test_names_stay_in_the_directory(fake_master: FakeMaster, basedir: Path, private: object) -> None:
    done = await fake_master.run("c", "shell-private", command="true", private=private)
    assert done.failure == "spawn"
    assert done.result.error is not None
    assert "private" in done.result.error
    assert not left(basedir)


async def test_p9_what_a_killed_worker_leaves_the_next_one_removes(
    fake_master: FakeMaster, basedir: Path
) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await fake_master.begin("c", "shell-private", command=HANG, private={"key": "one\n"})
        await fake_master.until_output("c", b"one\n")
        await worker.kill()
        assert left(basedir)
        await worker.start()
        await fake_master.until(lambda: len(fake_master.hellos) == 2)
        await eventually(lambda: not left(basedir))
