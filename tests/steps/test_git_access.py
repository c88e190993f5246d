"""Git steps over ssh and https, with real servers. P9: nobody else sees the keys and passwords."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.results import CANCELLED, FAILURE, SUCCESS
from buildwright.testing.views import Build
from tests.steps.conftest import Start
from tests.support.gitservers import GitHttp, Sshd, git_http, make_key, sshd
from tests.support.repositories import GitRepository
from tests.support.rig import Rig

ENV = '{"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}'
PASSWORD = "se:cr@t/ü word"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "repo")
    made.commit(a="1\n")
    made.git("config", "receive.denyCurrentBranch", "ignore")
    return made


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd") as running:
        yield running


@pytest.fixture
def https(tmp_path: Path) -> Iterator[GitHttp]:
    with git_http(tmp_path / "https", tmp_path, "ann@example.org", PASSWORD) as running:
        yield running


Config = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Makes a configuration's text, whose secrets are these."""

    def made(secrets: dict[str, str], *steps: str) -> str:
        directory = tmp_path / "master/secrets"
        directory.mkdir(parents=True, exist_ok=True)
        for name, value in secrets.items():
            (directory / name).write_text(value)
            (directory / name).chmod(0o600)
        provider = "c['secretsProviders'] = [secrets.SecretInAFile('secrets')]\n"
        return f"{provider}builder('b', {', '.join(steps)}, env={ENV})\n"

    return made


def step(kind: str, url: str, **arguments: Any) -> str:
    words = "".join(f", {name}={value}" for name, value in arguments.items())
    return f"steps.{kind}({url!r}{words})" if kind == "Git" else f"steps.{kind}(repourl={url!r}{words})"


def found(directory: Path, *values: str) -> list[str]:
    """The files below a directory in which one of these stands."""
    words = [word for value in values for line in value.splitlines() for word in ("-e", line)]
    run = subprocess.run(
        ["grep", "-rlaF", *words, str(directory)], capture_output=True, text=True, check=False
    )
    return run.stdout.splitlines()


def assert_nothing_is_left(it: Rig, built: Build, *values: str) -> None:
    assert not found(it.directory / "w1", *values)
    assert not list((it.directory / "w1/.buildwright/private").glob("*"))
    for value in values:
        assert value not in str(built)
    assert [path for path in found(it.basedir, *values) if "/secrets/" not in path] == []


async def test_p9_a_key_and_the_hosts_key(
    start: Start, repo: GitRepository, ssh: Sshd, config: Config
) -> None:
    inner = GitRepository(repo.path.parent / "inner")
    inner.commit(i="1\n")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(inner.path), "sub")
    repo.git("config", "-f", ".gitmodules", "submodule.sub.url", ssh.url(inner.path))
    head = repo.commit()
    text = config(
        {"key": ssh.client_key},
        step(
            "Git",
            ssh.url(repo.path),
            sshPrivateKey="util.Secret('key')",
            sshHostKey=repr(ssh.host_key),
            submodules=True,
        ),
    )
    it = await start(text)
    built = await it.build()
    assert built.results == SUCCESS, built.log("git").err
    assert built.properties["got_revision"] == head
    assert (it.builddir() / "build/sub/i").read_text() == "1\n"
    assert_nothing_is_left(it, built, *ssh.client_key.splitlines()[1:-1])


async def test_known_hosts_and_the_port_of_a_short_address(
    start: Start, repo: GitRepository, ssh: Sshd, config: Config
) -> None:
    it = await start(
        config(
            {"key": ssh.client_key},
            step(
                "Git",
                ssh.scp_url(repo.path),
                port=ssh.port,
                sshPrivateKey="util.Secret('key')",
                sshKnownHosts=repr(f"[127.0.0.1]:{ssh.port} {ssh.host_key}\n"),
            ),
        )
    )
    built = await it.build()
    assert built.results == SUCCESS, built.log("git").err


@pytest.mark.parametrize("wrong", ["host", "client", "garbage"])
async def test_what_ssh_refuses_is_said_in_a_line(
    start: Start, repo: GitRepository, ssh: Sshd, config: Config, tmp_path: Path, wrong: str
) -> None:
    other = make_key(tmp_path / "other")
    key = {"client": (tmp_path / "other").read_text(), "garbage": "no key at all"}.get(wrong, ssh.client_key)
    host_key = other if wrong == "host" else ssh.host_key
    arguments = {"sshPrivateKey": "util.Secret('key')", "sshHostKey": repr(host_key)}
    it = await start(config({"key": key}, step("Git", ssh.url(repo.path), **arguments)))
    built = await it.build()
    assert built.results == FAILURE
    expected = {
        "host": "the host's key is not the expected one: check sshHostKey or sshKnownHosts",
        "client": "the host doesn't accept the ssh key: check sshPrivateKey",
        "garbage": "ssh can't read the key: check that sshPrivateKey is a whole private key",
    }[wrong]
    assert expected.encode() in built.log("git").err
    assert expected in built.step("git").state
    assert_nothing_is_left(it, built, key)


CREDENTIALS = {
    "auth_credentials": "('ann@example.org', util.Secret('password'))",
    "git_credentials": (
        "util.GitCredentialOptions([util.GitCredentialInputRenderer(url=URL,"
        " username='ann@example.org', password=util.Secret('password'))], use_http_path=True)"
    ),
    "repourl": "util.Interpolate('https://ann%%40example.org:%(secret:quoted)s@' + URL[8:])",
}


@pytest.mark.parametrize("way", CREDENTIALS)
async def test_p9_a_password(
    start: Start, repo: GitRepository, https: GitHttp, config: Config, way: str
) -> None:
    url = https.url(repo.path / ".git")
    quoted = "se%3Acr%40t%2F%C3%BC%20word"
    words = CREDENTIALS[way]
    arguments = f"repourl={words}" if way == "repourl" else f"repourl=URL, {way}={words}"
    step = f"steps.Git({arguments}, filters=['blob:none'], env={https.environment!r})"
    text = config({"password": PASSWORD, "quoted": quoted}, step)
    it = await start(f"URL = {url!r}\n{text}")
    built = await it.build()
    assert built.results == SUCCESS, built.log("git").err
    assert (it.builddir() / "build/a").read_text() == "1\n"
    assert https.refused > 0  # git asks without first
    assert_nothing_is_left(it, built, PASSWORD, quoted)


async def test_a_wrong_password_is_said_in_a_line(
    start: Start, repo: GitRepository, https: GitHttp, config: Config
) -> None:
    words = {
        "auth_credentials": "('ann@example.org', util.Secret('password'))",
        "env": repr(https.environment),
    }
    it = await start(config({"password": "wrong one"}, step("Git", https.url(repo.path / ".git"), **words)))
    built = await it.build()
    assert built.results == FAILURE
    assert "the server doesn't accept the user and password" in built.step("git").state
    assert_nothing_is_left(it, built, "wrong one", "wrong%20one")


async def test_p9_a_password_is_for_the_configured_host_only(
    start: Start, repo: GitRepository, https: GitHttp, config: Config, tmp_path: Path
) -> None:
    """Whoever says where a merge request comes from gets none."""
    with git_http(tmp_path / "other", tmp_path, "ann@example.org", PASSWORD) as other:
        trusted = other.certificate.read_text() + https.certificate.read_text()
        (tmp_path / "both.pem").write_text(trusted)
        words = {
            "auth_credentials": "('ann@example.org', util.Secret('password'))",
            "env": repr({**https.environment, "GIT_SSL_CAINFO": str(tmp_path / "both.pem")}),
        }
        url = repr(https.url(repo.path / ".git"))
        text = config({"password": PASSWORD}, step("Git", "x", **words))
        it = await start(text.replace("steps.Git('x'", f"steps.GitLab({url}"))
        properties = {"target_branch": "main", "source_branch": "main"}
        for server, results in ((https, SUCCESS), (other, FAILURE)):
            there = server.url(repo.path / ".git")
            built = await it.build(properties={**properties, "source_git_ssh_url": there})
            assert built.results == results, built.log("git").err
            assert ("the server wants a user and a password" in built.step("git").state) == (server is other)


@pytest.mark.parametrize("end", ["stopped", "master restarted"])
async def test_p9_keys_go_with_their_command(
    start: Start, repo: GitRepository, ssh: Sshd, config: Config, tmp_path: Path, end: str
) -> None:
    """Also if the build is stopped in the middle, or another master has taken it over."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(
        f'#!/bin/sh\nstat -c "%a %n" "$BUILDWRIGHT_PRIVATE"/key >&2; echo connecting >&2\n'
        f'while [ ! -e {tmp_path}/go ]; do sleep 0.02; done\nexec /usr/bin/ssh "$@"\n'
    )
    (tools / "ssh").chmod(0o755)
    arguments = {
        "sshPrivateKey": "util.Secret('key')",
        "sshHostKey": repr(ssh.host_key),
        "env": f"{{'PATH': [{str(tools)!r}, '${{PATH}}']}}",
    }
    it = await start(config({"key": ssh.client_key}, step("Git", ssh.url(repo.path), **arguments)))
    request = await it.submit()
    await it.until_output(request, b"connecting", "e")
    private = list((it.directory / "w1/.buildwright/private").glob("*/*"))
    assert {path.name for path in private} == {"key", "known_hosts"}
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    if end == "stopped":
        await it.stop_build(request)
    else:
        await it.restart()
        await it.until("workers", it.attached)
        (tmp_path / "go").touch()
    built = await it.finished(request)
    assert built.outline == [("git", CANCELLED if end == "stopped" else SUCCESS)], built
    assert built.attempt == 1
    assert_nothing_is_left(it, built, *ssh.client_key.splitlines()[1:-1])


async def test_push_over_ssh(start: Start, repo: GitRepository, ssh: Sshd, config: Config) -> None:
    access = {"sshPrivateKey": "util.Secret('key')", "sshHostKey": repr(ssh.host_key)}
    url = ssh.url(repo.path)
    it = await start(
        config(
            {"key": ssh.client_key},
            step("Git", url, branch="'main'", **access),
            "steps.ShellCommand(command='echo made > made')",
            "steps.GitCommit(paths=['made'], messages=['Made', 'By the build'],"
            " config={'user.name': 'CI', 'user.email': 'ci@example.org'})",
            step("GitPush", url, branch="'main'", **access),
        )
    )
    built = await it.build()
    assert built.results == SUCCESS, built.log("git").err
    assert repo.git("log", "-1", "--format=%an|%B", "main").strip() == "CI|Made\n\nBy the build"
    assert_nothing_is_left(it, built, *ssh.client_key.splitlines()[1:-1])
