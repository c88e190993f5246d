"""What the topics' own examples promise, on a real master and worker.

The files of a page lie beside the configuration, as a reader's would.
"""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import sqlalchemy as sa

from buildwright.model.results import EXCEPTION, SUCCESS
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.units.leases import take
from buildwright.store.units.registry import register
from tests.docs.blocks import DOCS, blocks
from tests.support.rig import Rig, rig

TOPICS = DOCS / "topics"


def files_of(page: str, directory: Path) -> None:
    """Write the files that a page shows."""
    directory.mkdir(exist_ok=True)
    for block in blocks(TOPICS / page):
        if block.title is not None:
            (directory / block.title).write_text(block.text)


def module_of(page: str, title: str, directory: Path) -> ModuleType:
    files_of(page, directory)
    spec = importlib.util.spec_from_file_location(Path(title).stem, directory / title)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CENSUS = """
from census import Census
builder("b",
    steps.ShellCommand(name="files", command="touch one two"),
    Census(command="echo start >> starts; echo FAIL: test_first >&2; echo ready;"
                   "while [ ! -e go ]; do sleep 0.05; done; echo FAIL: test_second >&2"))
"""


async def test_a_custom_step_is_gone_on_with(tmp_path: Path, sqlite_store_url: str) -> None:
    files_of("journal-and-going-on.md", tmp_path / "master")
    async with rig(tmp_path, sqlite_store_url, CENSUS) as it:
        asked = await it.submit()
        await it.until_output(asked, b"ready")
        await it.restart()
        here = it.builddir() / "build"
        (here / "go").touch()
        built = await it.finished(asked)
        assert built.results == SUCCESS, built
        assert built.properties["files"] == 2
        assert built.properties["failed"] == ["test_first", "test_second"]
        assert (here / "starts").read_text() == "start\n"


async def test_work_on_the_master(tmp_path: Path, sqlite_store_url: str) -> None:
    files_of("journal-and-going-on.md", tmp_path / "master")
    (tmp_path / "made").write_text("made")
    paths = str(tmp_path / "made"), str(tmp_path / "out")
    text = f"from publish import Publish\nbuilder('b', Publish(*{paths!r}))"
    async with rig(tmp_path, sqlite_store_url, text) as it:
        built = await it.build("b")
        assert built.results == SUCCESS, built
        assert built.properties["published"] == str(tmp_path / "out" / "made")
        assert (tmp_path / "out" / "made").read_text() == "made"


async def test_a_restartable_step_starts_again(tmp_path: Path, sqlite_store_url: str) -> None:
    files_of("journal-and-going-on.md", tmp_path / "master")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with rig(
        tmp_path, sqlite_store_url, f"from probe import PortIsOpen\nbuilder('b', PortIsOpen({port}))"
    ) as it:
        asked = await it.submit()
        await it.until("steps", lambda: foreign_waits(it))
        await it.restart()
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        try:
            built = await it.finished(asked)
        finally:
            server.close()
        assert built.results == SUCCESS, built
        assert built.step("port is open").tries == 1


async def foreign_waits(it: Rig) -> bool:
    return bool(await it.store.fetch(sa.select(schema.steps.c.id).where(schema.steps.c.foreign_wait == 1)))


async def test_a_unit(tmp_path: Path, store: Store) -> None:
    module = module_of("the-store-and-units.md", "unit.py", tmp_path)
    assert not await store.run(module.pause_worker("nobody"))
    masterid, _ = await store.run(take("here", 0))
    await store.run(register(masterid, [], ["w1"]))
    assert await store.run(module.pause_worker("w1"))
    assert not await store.run(module.pause_worker("w1"))


async def test_secrets_are_masked(tmp_path: Path, sqlite_store_url: str) -> None:
    secrets = tmp_path / "master" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "token").write_text("hunter2hunter2\n")
    (secrets / "token").chmod(0o600)
    text = """
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]
builder("b", steps.ShellCommand(command='echo "it is $TOKEN"', env={"TOKEN": util.Secret("token")}))
builder("unknown", steps.ShellCommand(command=["echo", util.Secret("nothing")]))
"""
    async with rig(tmp_path, sqlite_store_url, text) as it:
        built = await it.build("b")
        assert built.log("shell").out == b"it is <token>\n"
        unknown = await it.build("unknown")
        assert unknown.results == EXCEPTION
        assert b"'nothing'" in unknown.log("shell", "err.text").out
