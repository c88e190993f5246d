"""Masters and workers of different releases: what works together, and what the refusal says to do."""

import logging
from pathlib import Path

import pytest

from buildwright.model.results import FAILURE, SUCCESS
from buildwright_worker.commands import KINDS
from tests.support.rig import rig

CONFIG = """
builder("b", steps.ShellCommand(command=["echo", "hello"]))
builder("new", steps.MakeDirectory(dir="made"))
"""


@pytest.mark.parametrize(
    ("side", "version", "older"),
    [("worker_side", 2, "master"), ("codec", 2, "worker")],
)
async def test_another_protocol_is_refused_until_one_side_is_upgraded(
    side: str,
    version: int,
    older: str,
    tmp_path: Path,
    sqlite_store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    async with rig(tmp_path, sqlite_store_url, CONFIG, workers=()) as it:
        requested = await it.submit("b")
        with monkeypatch.context() as other_release:
            other_release.setattr(f"buildwright_worker.protocol.{side}.VERSION", version)
            await it.start_worker()

            async def refused() -> bool:
                return "the master closed the connection" in caplog.text

            await it.until("workers", refused)
        assert f"upgrade the {older}, or install an older" in caplog.text  # the worker's log
        assert f"upgrade the {older}, or install an older" in capsys.readouterr().out  # the master's
        built = await it.finished(requested)  # it has tried again
        assert built.results == SUCCESS


async def test_a_worker_of_an_older_release_without_a_command(tmp_path: Path, sqlite_store_url: str) -> None:
    older = {kind: command for kind, command in KINDS.items() if kind != "mkdir"}
    async with rig(tmp_path, sqlite_store_url, CONFIG, workers=()) as it:
        await it.start_worker(kinds=older)
        assert (await it.build("b")).results == SUCCESS
        built = await it.build("new")
        assert built.results == FAILURE
        log = built.steps[0].logs["stdio"]
        assert b"and has no command 'mkdir': upgrade it" in log.header + log.err
