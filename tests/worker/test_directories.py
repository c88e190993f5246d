"""The directories that builds leave: marked when they are used, removed when they were not for long."""

import json
import os
import time
from pathlib import Path

import pytest

from buildwright_worker import agent as agents
from buildwright_worker import cli, config
from buildwright_worker.directories import DAY_S, Directories
from tests.worker.support import FakeMaster, config_for, eventually, names, running_agent


def age(basedir: Path, name: str, days: float) -> None:
    when = time.time() - days * DAY_S
    os.utime(basedir / ".buildwright/used" / name, (when, when))


async def run(master: FakeMaster, id: str, workdir: str, command: str = "touch f") -> None:
    done = await master.run(id, "shell", command=command, workdir=workdir)
    assert done.rc == 0


async def test_what_is_marked(fake_master: FakeMaster, basedir: Path) -> None:
    """What a command has made, however it did; nothing else."""
    (basedir / "by-hand").mkdir(parents=True)
    async with running_agent(config_for(basedir, fake_master.url)):
        await run(fake_master, "c1", "one/build")
        await run(fake_master, "c2", "by-hand/build")
        await fake_master.run("c3", "mkdir", paths=["two", str(basedir / "three/deep")])
        fake_master.files["c4"] = b"x"
        await fake_master.run("c4", "download", path="four/f")
        await fake_master.run("c5", "stat", path="nothing")
        await run(fake_master, "c6", "..", "mkdir -p worker/outside; rmdir worker/outside")
        assert names(basedir / ".buildwright/used") == ["four", "one", "three", "two"]
        age(basedir, "one", 3)
        before = dict(Directories(basedir, basedir / ".buildwright").known())
        assert next(iter(before)) == "one"
        await run(fake_master, "c7", "one/build")
        after = dict(Directories(basedir, basedir / ".buildwright").known())
        assert after["one"] - before["one"] > 2 * DAY_S
        await fake_master.run("c8", "rmdir", paths=["two"])
        assert names(basedir / ".buildwright/used") == ["four", "one", "three"]


async def test_what_is_removed(fake_master: FakeMaster, basedir: Path) -> None:
    """When the worker starts: all of what is old enough, however its permissions are, and nothing else."""
    (basedir / "by-hand").mkdir(parents=True)
    async with running_agent(config_for(basedir, fake_master.url)):
        for name in ("old", "recent", "linked"):
            await run(fake_master, name, f"{name}/build", "mkdir -p deep; touch deep/f; chmod 0 deep")
    for name, days in (("old", 31), ("recent", 29), ("linked", 31)):
        age(basedir, name, days)
    (basedir / "linked").rename(basedir / "elsewhere")
    (basedir / "linked").symlink_to("elsewhere")
    async with running_agent(config_for(basedir, fake_master.url, unused_days=30)):
        await eventually(lambda: not (basedir / "old").exists())
        await eventually(lambda: not (basedir / ".buildwright/removing").exists())
        assert {"by-hand", "recent", "elsewhere", "linked"} <= set(names(basedir))
        await run(fake_master, "again", "old/build")
        assert names(basedir / "old/build") == ["f"]


async def test_one_that_is_used_stays(
    fake_master: FakeMaster, basedir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "CLEAN_EVERY_S", 0.01)
    async with running_agent(config_for(basedir, fake_master.url, unused_days=30)):
        await run(fake_master, "before", "used/build")
        await run(fake_master, "too", "other/build")
        command = "touch begun; while [ ! -e go ]; do sleep 0.01; done"
        await fake_master.begin("long", "shell", command=command, workdir="used/build")
        await eventually((basedir / "used/build/begun").exists)
        age(basedir, "used", 31)
        age(basedir, "other", 31)
        await eventually(lambda: not (basedir / "other").exists())
        (basedir / "used/build/go").touch()
        assert (await fake_master.outcome("long")).rc == 0
        age(basedir, "used", 31)
        await eventually(lambda: not (basedir / "used").exists())


def test_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["create", str(tmp_path), "h:1", "w", "--password", "x", "--unused-days", "14"]
    assert cli.main(words) == 0
    assert config.load(tmp_path).unused_days == 14
    assert cli.main(["create", str(tmp_path), "h:1", "w"]) == 0
    assert config.load(tmp_path).unused_days == 14
    capsys.readouterr()
    assert cli.main(["directories", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / ".buildwright/used").mkdir()
    for name in ("old", "new", "gone"):
        (tmp_path / ".buildwright/used" / name).touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    age(tmp_path, "old", 100)
    assert cli.main(["directories", str(tmp_path)]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["old", "new"]
    assert cli.main(["directories", str(tmp_path), "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["old", "new"]


@pytest.mark.parametrize("days", ["0", "-1", '"7"', "true"])
def test_no_number_of_days(tmp_path: Path, days: str) -> None:
    assert cli.main(["create", str(tmp_path), "h:1", "w", "--password", "x"]) == 0
    path = tmp_path / "worker.json"
    path.write_text(path.read_text().replace('"name"', f'"unused_days": {days}, "name"'))
    with pytest.raises(config.ConfigError, match='"unused_days" must be a number of days'):
        config.load(tmp_path)
