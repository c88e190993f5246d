"""`buildwright init`."""

import re
from pathlib import Path

from tests.cli.support import buildwright, failed, succeeded


def test_the_sample_is_a_configuration_that_is_fine(tmp_path: Path) -> None:
    done = succeeded("init", tmp_path / "ci", "--port", "8123", "--title", "It's mine")
    assert "buildwright start" in done.out
    text = (tmp_path / "ci" / "master.cfg").read_text()
    assert 'c["www"] = {"port": 8123}' in text
    assert '''c["title"] = "It's mine"''' in text
    assert not re.search("@[A-Z]", text)
    checked = succeeded("check", tmp_path / "ci")
    assert checked.out.endswith("is fine: 1 builder, 1 worker, 1 scheduler, 0 change sources.\n")


def test_a_repository_that_is_given_is_built(tmp_path: Path) -> None:
    succeeded("init", "ci", "--git", "https://git.example.org/it.git", "--branch", "trunk", cwd=tmp_path)
    assert succeeded("check", "ci", "--json", cwd=tmp_path).json == {
        "ok": True,
        "errors": [],
        "warnings": [],
        "builders": 2,
        "workers": 1,
        "schedulers": 3,
        "change_sources": 1,
    }


def test_a_configuration_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "master.cfg").write_text("mine")
    assert "is there already" in failed("init", tmp_path)
    assert (tmp_path / "master.cfg").read_text() == "mine"


def test_a_database_with_a_password_is_nobody_elses(tmp_path: Path) -> None:
    url = "postgresql://ci:secret@db.example.org/ci"
    done = succeeded("init", tmp_path / "ci", "--db", url, "--json")
    path = Path(done.json["configuration"])
    assert url in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    assert "MySQL is not supported" in failed("init", tmp_path / "ci", "--db", "mysql://h/d")
    (tmp_path / "file").touch()
    assert "Not a directory" in failed("init", tmp_path / "file" / "ci")
    assert buildwright("init").code == 2
