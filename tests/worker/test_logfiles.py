"""Log files that are followed while a command runs."""

from pathlib import Path

import pytest

from tests.worker.support import FakeMaster

pytestmark = pytest.mark.usefixtures("agent")


async def test_a_file_is_sent_while_it_grows_and_to_its_end(fake_master: FakeMaster, basedir: Path) -> None:
    script = "echo one >log; until test -e go; do sleep 0.05; done; printf 'two\\nno end' >>log"
    await fake_master.begin("c", command=script, logfiles={"my log": "log"})
    await fake_master.until_output("c", b"one\n", "l")
    (basedir / "go").touch()
    done = await fake_master.outcome("c")
    assert done.stream("l", "my log") == b"one\ntwo\nno end"
    assert done.records[-1].kind == "r"


async def test_what_was_there_before(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "sub").mkdir()
    for name in ("untouched", "appended", "followed", "rewritten", "shorter"):
        (basedir / "sub" / name).write_text("old content\n")
    done = await fake_master.run(
        "c",
        command="for f in appended followed; do echo new >>$f; done; "
        "echo new >fresh; mv fresh rewritten; echo new >shorter",
        workdir="sub",
        logfiles={
            "untouched": "untouched",
            "appended": {"filename": "appended"},
            "followed": {"filename": str(basedir / "sub/followed"), "follow": True},
            "rewritten": "rewritten",
            "shorter": {"filename": "shorter", "follow": True},
            "missing": "missing",
        },
    )
    assert done.stream("l", "untouched") == b""
    assert done.stream("l", "appended") == b"old content\nnew\n"
    assert done.stream("l", "followed") == b"new\n"
    assert done.stream("l", "rewritten") == b"new\n"
    assert done.stream("l", "shorter") == b"new\n"
    assert done.stream("l", "missing") == b""
    assert "watching logfiles untouched, appended" in done.headers


async def test_a_file_replaced_under_way_is_read_to_its_end_first(
    fake_master: FakeMaster, basedir: Path
) -> None:
    script = (
        "echo first >log; until test -e go; do sleep 0.05; done; "
        "echo last >>log; echo second >new; mv new log"
    )
    await fake_master.begin("c", command=script, logfiles={"log": "log"})
    await fake_master.until_output("c", b"first\n", "l")
    (basedir / "go").touch()
    done = await fake_master.outcome("c")
    assert done.stream("l", "log") == b"first\nlast\nsecond\n"


async def test_a_large_file(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="seq 1 1000000 >log", logfiles={"log": "log"})
    assert done.stream("l", "log") == b"".join(b"%d\n" % number for number in range(1, 1000001))


async def test_a_pipe_nobody_writes_to_is_no_trap(fake_master: FakeMaster) -> None:
    done = await fake_master.run("c", command="mkfifo log", logfiles={"log": "log"})
    assert done.rc == 0
