"""GitPoller over ssh and https, with real servers. P9: nobody else sees the keys and passwords."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Found, Poll, PollError
from buildwright.changes.gitpoller import GitPoller
from buildwright.model.gitaccess import GitCredentialInputRenderer, GitCredentialOptions
from buildwright.model.render import Interpolate, Secret
from tests.support.gitservers import git_http, make_key, sshd
from tests.support.repositories import Origin

PASSWORD = "se:cr@t/ü word"


async def look(poller: GitPoller, workdir: Path, secrets: dict[str, str], state: Any = None) -> Found:
    async def secret(name: str) -> str | None:
        return secrets.get(name)

    return await poller.poll(Poll(state, workdir, secret))


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_p9_a_key(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    spy = tmp_path / "git"
    spy.write_text(
        f'#!/bin/sh\n(cd "$BUILDWRIGHT_PRIVATE" && stat -c "%a %n" . *) >> {tmp_path}/seen\nexec git "$@"\n'
    )
    spy.chmod(0o755)
    with sshd(tmp_path / "sshd") as server:
        secrets = {"key": server.client_key}
        access: dict[str, Any] = {"sshPrivateKey": Secret("key"), "sshHostKey": server.host_key}
        poller = GitPoller(server.url(origin.path), gitbin=str(spy), **access)
        first = await look(poller, tmp_path / "master", secrets)
        new = origin.commit("new")
        # What a killed master has left doesn't hold up the next one, and goes.
        [repository] = (tmp_path / "master/gitpoller-work").iterdir()
        left = repository.with_name(repository.name.rpartition("-")[0] + ".private")
        left.mkdir()
        (left / "key").write_text("old")
        found = await look(poller, tmp_path / "master", secrets, first.state)
        assert [change.revision for change in found.changes] == [new]
        assert set((tmp_path / "seen").read_text().splitlines()) == {"700 .", "600 key", "600 known_hosts"}
        assert [path.name for path in (tmp_path / "master/gitpoller-work").iterdir()] == [repository.name]
        assert server.client_key.splitlines()[1].encode() not in contents(tmp_path / "master")
        wrong = GitPoller(
            server.url(origin.path), sshPrivateKey=Secret("key"), sshHostKey=make_key(tmp_path / "k")
        )
        with pytest.raises(PollError, match="the host's key is not the expected one"):
            await look(wrong, tmp_path / "master", secrets)


@pytest.mark.parametrize("way", ["auth_credentials", "git_credentials", "repourl"])
async def test_p9_a_password(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    origin.commit("old")
    quoted = "se%3Acr%40t%2F%C3%BC%20word"
    secrets = {"password": PASSWORD, "quoted": quoted}
    with git_http(tmp_path / "https", tmp_path, "ann", PASSWORD) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = server.url(origin.path / ".git")
        if way == "repourl":
            poller = GitPoller(Interpolate(url.replace("https://", "https://ann:%(secret:quoted)s@")))
        elif way == "auth_credentials":
            poller = GitPoller(url, auth_credentials=("ann", Secret("password")))
        else:
            one = GitCredentialInputRenderer(url=url, username="ann", password=Secret("password"))
            poller = GitPoller(url, git_credentials=GitCredentialOptions([one]))
        first = await look(poller, tmp_path / "master", secrets)
        new = origin.commit("new")
        found = await look(poller, tmp_path / "master", secrets, first.state)
        assert [change.revision for change in found.changes] == [new]
        everything = repr([found, first]).encode() + contents(tmp_path / "master")
        assert PASSWORD.encode() not in everything
        assert quoted.encode() not in everything
        with pytest.raises(PollError, match="doesn't accept the user and password") as caught:
            await look(poller, tmp_path / "master", {"password": "wrong one", "quoted": "wrong%20one"})
        assert "wrong" not in str(caught.value)


async def test_credentials_that_make_no_sense_are_named(tmp_path: Path) -> None:
    half = GitCredentialOptions([GitCredentialInputRenderer(url="https://h/x", password=Secret("password"))])
    with pytest.raises(PollError, match="a git credential has no username: it needs") as caught:
        await look(GitPoller("u", git_credentials=half), tmp_path, {"password": PASSWORD})
    assert PASSWORD not in str(caught.value)
    nonsense = GitPoller("u", git_credentials=GitCredentialOptions([Secret("password")]))
    with pytest.raises(PollError, match="a git credential must be lines of name=value") as caught:
        await look(nonsense, tmp_path, {"password": PASSWORD})
    assert PASSWORD not in str(caught.value)
