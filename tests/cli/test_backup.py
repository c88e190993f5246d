"""`buildwright backup` and `restore`: what comes back is what there was, and nothing is overwritten."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import CONFIG, Master, eventually, failed, master_in, succeeded

LARGE = """
c["builders"].append(builder("large", "seq 1 30000"))
c["schedulers"].append(schedulers.ForceScheduler(name="force-large", builderNames=["large"]))
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Master, str]]:
    """A running master with two builds, one of which has a sealed log; and its configuration."""
    text = CONFIG + LARGE
    directory = tmp_path_factory.mktemp("backup")
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres_cluster")
        with (
            cluster.database() as url,
            master_in(directory / "master", f"{text}c['db_url'] = {url!r}\n") as it,
        ):
            yield _with_builds(it), text
    else:
        with master_in(directory / "master", text) as it:
            yield _with_builds(it), text


def _with_builds(master: Master) -> Master:
    succeeded("force", "green", "--follow", "--url", master.url)
    succeeded("force", "large", "--follow", "--url", master.url)
    eventually(lambda: [p for p in (master.basedir / "logs").rglob("*") if p.is_file()], "a log is sealed")
    return master


def test_what_comes_back_is_what_there_was(
    built: tuple[Master, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    master, text = built
    backup = tmp_path / "backup"
    told = succeeded("backup", backup, "--basedir", master.basedir, "--json").json
    assert (told["sealed_logs"], told["lost_logs"]) == (1, 0)
    assert "is there already" in failed("backup", backup, "--basedir", master.basedir)
    assert "1 log file and the configuration" in succeeded("restore", backup, "--check").out
    restored = tmp_path / "restored"
    if told["database"] == "sqlite":
        succeeded("restore", backup, restored)
        _compare(master, restored, text)
        assert "has a database already" in failed("restore", backup, restored)
    else:
        with request.getfixturevalue("postgres_cluster").database() as url:
            Master(restored).configure(f"{text}c['db_url'] = {url!r}\n")
            succeeded("restore", backup, restored)
            _compare(master, restored, f"{text}c['db_url'] = {url!r}\n")
            assert "has a database already" in failed("restore", backup, restored)
            resting = Master(tmp_path / "other")
            resting.configure(text)
            assert "correct db_url" in failed("restore", backup, resting.basedir)


def _compare(before: Master, restored: Path, text: str) -> None:
    """Start what was restored: builds and logs are the same, and builds go on."""
    with master_in(restored, text) as after:
        for build in ("green/1", "large/1"):
            logs = [succeeded("log", build, "--url", it.url).out for it in (before, after)]
            assert logs[0] == logs[1]
            assert len(logs[0]) > 10
        succeeded("force", "green", "--follow", "--url", after.url)
        numbers = [each["number"] for each in succeeded("builds", "--json", "--url", after.url).json]
        assert sorted(numbers) == [1, 1, 2]


def test_a_worker_that_has_gone_on_works_for_the_restored_master(master: Master, tmp_path: Path) -> None:
    succeeded("force", "green", "--follow", "--url", master.url)
    succeeded("backup", tmp_path / "backup", "--basedir", master.basedir)
    for _ in range(2):  # attachments that the backup doesn't know
        succeeded("stop", cwd=master.basedir)
        master.start()
        succeeded("force", "green", "--follow", "--url", master.url)
    assert "a master runs" in failed("restore", tmp_path / "backup", master.basedir)
    succeeded("stop", cwd=master.basedir)  # its local worker stays
    for path in master.basedir.glob("state.sqlite*"):
        path.unlink()
    succeeded("restore", tmp_path / "backup", master.basedir)
    master.start()
    for _ in range(2):
        succeeded("force", "green", "--follow", "--url", master.url)
    builds = succeeded("builds", "--json", "--url", master.url).json
    assert sorted((each["number"], each["results"]) for each in builds) == [(1, 0), (2, 0), (3, 0)]


def test_what_is_no_backup_or_damaged_is_refused(resting: Master, tmp_path: Path) -> None:
    succeeded("upgrade-db", cwd=resting.basedir)
    backup = tmp_path / "backup"
    succeeded("backup", backup, "--basedir", resting.basedir)
    assert "is no whole backup" in failed("restore", tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(backup, damaged)
    with (damaged / "state.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    target = tmp_path / "target"
    assert "state.sqlite has changed" in failed("restore", damaged, target)
    (damaged / "state.sqlite").unlink()
    assert "state.sqlite is missing" in failed("restore", damaged, target)
    manifest = json.loads((backup / "backup.json").read_text())
    (backup / "backup.json").write_text(json.dumps({**manifest, "format": 99, "version": "9.9"}))
    assert "made by version 9.9" in failed("restore", backup, target)
    assert not target.exists()


def test_a_backup_of_nothing(resting: Master, tmp_path: Path) -> None:
    assert "has no tables yet" in failed("backup", tmp_path / "backup", "--basedir", resting.basedir)
    assert not (tmp_path / "backup").exists()


def test_the_copy_is_one_file_that_only_its_owner_reads(resting: Master, tmp_path: Path) -> None:
    succeeded("upgrade-db", cwd=resting.basedir)
    succeeded("backup", tmp_path / "backup", "--basedir", resting.basedir)
    copy = tmp_path / "backup" / "state.sqlite"
    assert copy.stat().st_mode & 0o077 == 0
    connection = sqlite3.connect(copy)
    try:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    finally:
        connection.close()
