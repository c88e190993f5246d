"""How-tos whose commands need more than a master of their own."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.store import schema
from tests.docs.blocks import DOCS, Block, blocks
from tests.docs.session import session
from tests.support.processes import free_port
from tests.support.rig import rig

HOWTO = DOCS / "howto"


def block_with(page: str, text: str) -> Block:
    return next(block for block in blocks(HOWTO / page) if text in block.text)


def test_tls(tmp_path: Path) -> None:
    """Also the local worker knows the master by its certificate, which isn't made for 127.0.0.1's name."""
    page = "tokens-and-tls.md"
    with session(tmp_path, {"8010": str(free_port())}) as reader:
        reader.do("buildwright init ci --port 8010")
        reader.do("cd ci")
        reader.follow(block_with(page, "openssl req"))
        configuration = tmp_path / "ci" / "master.cfg"
        configuration.write_text(configuration.read_text() + reader.here(block_with(page, '"ssl": {').text))
        reader.do("cd .. && cd ci")
        reader.do("buildwright start", stays="...the master is running...")
        reader.do("buildwright force hello --follow")
        reader.do("curl --silent --fail --cacert cert.pem https://localhost:8010/api/v2/masters")


def test_log_in_and_roles(tmp_path: Path) -> None:
    page = "log-in-and-roles.md"
    with session(tmp_path, {"8010": str(free_port())}) as reader:
        reader.do("buildwright init ci --port 8010")
        reader.follow(block_with(page, "openssl passwd"))
        configuration = tmp_path / "ci" / "master.cfg"
        configuration.write_text(
            configuration.read_text() + reader.here(block_with(page, 'users.htpasswd")').text)
        )
        reader.do("buildwright start ci", stays="...the master is running...")
        reader.follow(block_with(page, "--cookie-jar bob"))
        reader.do("! buildwright force hello --basedir ci")
        reader.follow(block_with(page, "token create"))


def test_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with session(tmp_path, {"postgresql://ci:password@db.example.org/ci": postgres_url}) as reader:
        for block in blocks(HOWTO / "postgresql.md"):
            reader.follow(block)
        reader.do(f"sed -i 's/8010/{free_port()}/' ci/master.cfg")
        reader.do("buildwright start ci", stays="...the master is running...")
        reader.do("buildwright upgrade-db ci --check")
        reader.do("buildwright force hello --basedir ci --follow")


async def test_results_of_a_step_of_ones_own(tmp_path: Path, sqlite_store_url: str) -> None:
    (tmp_path / "master").mkdir()
    (tmp_path / "master" / "measure.py").write_text(block_with("test-results.md", "class Measure").text)
    text = """
from measure import Measure
builder("b", Measure(command="echo start 17.5; echo stop 3"))
"""
    async with rig(tmp_path, sqlite_store_url, text) as it:
        built = await it.build("b")
        assert built.results == SUCCESS, built
        values = await it.store.fetch(
            sa.select(schema.test_results.c.value).order_by(schema.test_results.c.id)
        )
        assert values == [("17.5",), ("3",)]
        data = await it.store.fetch(sa.select(schema.build_data.c.name, schema.build_data.c.value))
        assert data == [("speed.txt", b"start 17.5\nstop 3\n")]


async def test_a_step_of_ones_own(tmp_path: Path, sqlite_store_url: str) -> None:
    (tmp_path / "master").mkdir()
    (tmp_path / "master" / "lint.py").write_text(block_with("write-a-step.md", "class Lint").text)
    text = """
from lint import Lint
says = "echo 'a.py:1: error: one'; echo 'a.py:2: error: two'; exit 1"
builder("clean", Lint(command="true"))
builder("few", Lint(command=says, allowed=util.Property("allowed", default=3)))
builder("many", Lint(command=says, allowed=1))
builder("broken", Lint(command="exit 3"))
"""
    async with rig(tmp_path, sqlite_store_url, text) as it:
        assert (await it.build("clean")).results == SUCCESS
        few = await it.build("few")
        assert (few.results, few.properties["findings"]) == (WARNINGS, 2)
        assert few.step("lint").state == "2 findings"
        assert (await it.build("many")).results == FAILURE
        assert (await it.build("broken")).results == FAILURE
