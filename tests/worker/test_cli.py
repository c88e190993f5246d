"""The command line, and the configuration behind it."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from buildwright_worker import __version__, cli, config
from tests.worker.support import FakeMaster, WorkerProcess, run_command


@pytest.fixture(autouse=True)
def _no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(config.PASSWORD_VARIABLE, raising=False)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_create(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sésame\n")
    basedir = tmp_path / "w"
    code, out, _ = run(capsys, "create", basedir, "host:8010", "w1", "--password-file", secret)
    assert code == 0
    assert "Worker 'w1' is set up" in out
    loaded = config.load(basedir)
    assert (loaded.masters, loaded.name, loaded.password) == (["ws://host:8010/worker"], "w1", "sésame")
    assert stat.S_IMODE((basedir / "password").stat().st_mode) == 0o600
    assert (basedir / "info/admin").read_text().strip()
    assert (basedir / "info/host").read_text().strip()
    assert "sésame" not in (basedir / "worker.json").read_text() + out + repr(loaded)


def test_create_again_changes_what_is_given(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "create", tmp_path, "a:1", "w1", "--password", "x")[0] == 0
    (tmp_path / "info/admin").write_text("me")
    code, out, _ = run(capsys, "create", tmp_path, "b:1", "w2", "--master", "https://c/w", "--json")
    assert (code, json.loads(out)["masters"]) == (0, ["ws://b:1/worker", "wss://c/w"])
    loaded = config.load(tmp_path)
    assert (loaded.name, loaded.password) == ("w2", "x")
    assert (tmp_path / "info/admin").read_text() == "me"


def test_the_password_may_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, "create", tmp_path, "a:1", "w1")
    assert code == 1
    assert "no password: give --password-file" in err
    monkeypatch.setenv(config.PASSWORD_VARIABLE, "x")
    assert run(capsys, "create", tmp_path, "a:1", "w1")[0] == 0
    assert config.load(tmp_path).password == "x"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("h:1", "ws://h:1/worker"),
        ("ws://h", "ws://h/worker"),
        ("http://h:1/", "ws://h:1/worker"),
        ("https://h/ci/worker", "wss://h/ci/worker"),
        ("ws://[::1]:2", "ws://[::1]:2/worker"),
        ("ftp://h", None),
        ("h:port", None),
        ("", None),
        ("ws://user:pw@h:1", None),
    ],
)
def test_addresses(text: str, url: str | None) -> None:
    if url is None:
        with pytest.raises(config.ConfigError, match="no master's address"):
            config.master_url(text)
    else:
        assert config.master_url(text) == url


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "can't be read"),
        ("[]", "not a JSON object"),
        ({"masters": [], "name": "w"}, '"masters" must be a list of addresses'),
        ({"masters": ["h:1"]}, '"name" must be the name'),
        ({"masters": ["h:1"], "name": "w", "nmae": 1}, "unknown key 'nmae'; it may have masters"),
        ({"masters": ["h:1"], "name": "w", "spool_limit": "1G"}, '"spool_limit" must be a number of bytes'),
        ({"masters": ["h:1"], "name": "w", "ca_file": "none.pem"}, '"ca_file" must name a file'),
        ({"masters": ["h:1"], "name": "w", "certificate": 1}, '"certificate" must name a file'),
        ({"masters": ["h:1"], "name": "w"}, "no password"),
    ],
)
def test_configurations_with_errors(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: Any, what: str
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "worker.json").write_text(text)
    code, _, err = run(capsys, "start", tmp_path)
    assert code == 1
    assert what in err
    assert str(tmp_path) in err
    assert len(err.strip().splitlines()) == 1


def test_what_is_not_given_again_stays(tmp_path: Path) -> None:
    config.create(tmp_path, ["h:1"], "w", "pw", None)
    content = json.loads((tmp_path / "worker.json").read_text())
    (tmp_path / "worker.json").write_text(json.dumps({**content, "spool_limit": 5}))
    made = config.create(tmp_path, ["h:2"], "w", None, None)
    assert (made.spool_limit, made.masters, made.password) == (5, ["ws://h:2/worker"], "pw")


def test_no_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("start", "stop"):
        code, _, err = run(capsys, command, tmp_path / "none")
        assert code == 1
        assert "run `buildwright-worker create" in err
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "create", tmp_path / "file", "h:1", "w", "--password", "x")
    assert code == 1
    assert "can't set up" in err
    assert run(capsys, "create", tmp_path / "w", "h:1", "a:b", "--password", "x")[0] == 1


async def test_stop_ends_a_running_worker_and_a_second_start_is_refused(
    capsys: pytest.CaptureFixture[str], fake_master: FakeMaster, basedir: Path
) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await fake_master.attached()
        second = run_command(sys.executable, "-m", "buildwright_worker", "start", basedir)
        assert second.returncode == 1
        assert f"a worker is running in {basedir} already (process {worker.process.pid})" in second.stderr
        code, out, _ = run(capsys, "stop", basedir, "--json")
        assert (code, json.loads(out)) == (0, {"running": False, "stopped": True})
        assert await worker.process.wait() == 0
    code, out, _ = run(capsys, "stop", basedir)
    assert (code, out) == (0, "No worker is running there.\n")


@pytest.mark.parametrize("words", [["--help"], ["create", "--help"], ["start", "--help"], ["stop", "--help"]])
def test_help_and_version(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "buildwright-worker" in said
    assert max(map(len, said.splitlines())) <= 100
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"buildwright-worker {__version__}\n"


def test_the_command_is_installed() -> None:
    said = run_command(Path(sys.executable).with_name("buildwright-worker"), "--version")
    assert said.stdout.startswith("buildwright-worker ")
