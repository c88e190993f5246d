"""`buildwright check`."""

from pathlib import Path

from buildwright.plugins import TABLE
from tests.cli.support import LEAST, TELL_MODULES, buildwright, failed, succeeded

FIVE = """\
from buildwright.plugins import util, worker, schedulers
c = BuildmasterConfig = {}
c["bulders"] = []
c["workers"] = [worker.Worker("w", "pw")]
c["builders"] = [
    util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory()),
    util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory()),
    util.BuilderConfig(name="d", workernames=["nobody"], factory=util.BuildFactory()),
]
c["title"] = 5
import broken
"""


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "master.cfg").write_text(FIVE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    done = buildwright("check", cwd=tmp_path)
    assert done.code == 1
    for line, words in {3: "bulders", 7: "two builders named 'b'", 8: "nobody", 10: "title"}.items():
        assert f"master.cfg:{line}: error: " in done.err
        assert words in done.err
    assert "broken.py:1: error: SyntaxError" in done.err
    assert "did you mean 'builders'?" in done.err
    assert "5 errors" in done.err
    found = buildwright("check", tmp_path / "master.cfg", "--json")
    assert found.code == 1
    assert not found.json["ok"]
    assert [each["line"] for each in found.json["errors"]] == [3, 7, 8, 10, 1]


def test_warnings_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "other.cfg").write_text(LEAST + 'c["caches"] = {"Changes": 1}\n')
    done = succeeded("check", "other.cfg", cwd=tmp_path)
    assert "other.cfg:8: warning: " in done.err
    assert done.out == "other.cfg is fine: 1 builder, 1 worker, 1 scheduler, 0 change sources.\n"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert "`buildwright init" in failed("check", tmp_path / "nothing")
    assert "no master's directory" in failed("check", tmp_path)
    assert "there is no file" in failed("check", tmp_path / "nothing.cfg")


def test_checking_loads_nothing_of_a_running_master(tmp_path: Path) -> None:
    """Every public name, and still no store, web server or log: what makes checking slow."""
    names = "\n".join(f"{space}.{name}" for space, names in TABLE.items() for name in names)
    told = TELL_MODULES.format(path=str(tmp_path / "modules"))
    (tmp_path / "master.cfg").write_text(f"from buildwright.plugins import *\n{names}\n{told}\n{LEAST}")
    succeeded("check", tmp_path)
    loaded = set((tmp_path / "modules").read_text().split())
    heavy = {"sqlalchemy", "aiohttp", "structlog", "asyncpg", "alembic", "rich", "buildwright.store.schema"}
    assert "buildwright.steps.shell" in loaded
    assert not heavy & loaded
