"""Providers that ask others: `pass` itself, a server with Vault's HTTP API, the environment (P9)."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from buildwright.model.errors import ConfigErrors
from buildwright.model.fingerprint import describe
from buildwright.model.secrets import SecretInEnvironment, SecretUnavailable
from buildwright.model.secrets_pass import SecretInPass
from buildwright.model.secrets_vault import (
    HashiCorpVaultKvSecretProvider,
    VaultAuthenticatorApprole,
    VaultAuthenticatorToken,
)
from buildwright.plugins import secrets
from tests.support.processes import free_port

PASSPHRASE = "open sesame"
KEY = "first line\nsecond line"

# -- pass ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def password_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A store with the entries `ci/key` and `-odd`, whose key has a passphrase; and GnuPG's directory."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    store = tmp_path_factory.mktemp("store")
    environment = {**os.environ, "GNUPGHOME": str(home), "PASSWORD_STORE_DIR": str(store)}

    def run(*command: str, given: str = "") -> None:
        subprocess.run(command, env=environment, input=given, text=True, check=True, capture_output=True)

    try:
        options = ("--batch", "--passphrase", PASSPHRASE, "--pinentry-mode", "loopback")
        run("gpg", *options, "--quick-generate-key", "ci@example.org", "default", "default", "never")
        run("pass", "init", "ci@example.org")
        run("pass", "insert", "--multiline", "--force", "ci/key", given=KEY + "\n")
        run("pass", "insert", "--multiline", "--force", "--", "-odd", given="odd")
        run("gpgconf", "--kill", "gpg-agent")
        yield store, home
    finally:
        run("gpgconf", "--kill", "gpg-agent")


@pytest.fixture
def gnupg(password_store: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    store, home = password_store
    monkeypatch.setenv("GNUPGHOME", str(home))
    return store


async def test_pass_gives_all_lines_of_an_entry(gnupg: Path) -> None:
    provider = secrets.SecretInPass(PASSPHRASE, str(gnupg))
    assert await provider.get("ci/key") == KEY
    assert await provider.get("-odd") == "odd"
    for unknown in ("ci", "ci/other", "../gnupg0/x", ""):
        assert await provider.get(unknown) is None
    assert PASSPHRASE not in repr(provider)


async def test_pass_uses_its_own_directory(gnupg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD_STORE_DIR", str(gnupg))
    assert await SecretInPass(PASSPHRASE).get("ci/key") == KEY


@pytest.fixture
def forgetful(gnupg: Path) -> Path:
    """The store, when GnuPG's agent remembers no passphrase."""
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=True)
    return gnupg


async def test_a_wrong_passphrase_is_said_in_one_line(forgetful: Path) -> None:
    with pytest.raises(SecretUnavailable, match=r"secret 'ci/key': pass has failed: gpg: .*") as caught:
        await SecretInPass("wrong", forgetful).get("ci/key")
    assert "\n" not in str(caught.value)


def test_what_pass_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigErrors, match="there is no directory"):
        SecretInPass(dirname=tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigErrors, match="apt install pass"):
        SecretInPass()


# -- Vault --------------------------------------------------------------------------------------------------


class Vault:
    """Vault's HTTP API, as far as it concerns key-value engines: ``secret`` is of version 2, ``old`` of 1."""

    def __init__(self) -> None:
        self.content: dict[str, dict[str, Any] | None] = {
            "ci/deploy": {"token": "v2-value", "key": KEY, "number": 7},
            "odd|path": {"a": "odd"},
            "deleted": None,
        }
        self.tokens = {"root-token"}
        self.logins = 0
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _denied(self, request: web.Request) -> web.Response | None:
        if request.headers.get("X-Vault-Token") in self.tokens:
            return None
        return web.json_response({"errors": ["permission denied"]}, status=403)

    async def read_v2(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        path = request.match_info["path"]
        if path not in self.content:
            return web.json_response({"errors": []}, status=404)
        found = self.content[path]
        body = {"data": {"data": found, "metadata": {"version": 1}}}
        return web.json_response(body, status=404 if found is None else 200)

    async def read_v1(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        if request.match_info["path"] != "ci/deploy":
            return web.json_response({"errors": []}, status=404)
        return web.json_response({"data": {"token": "v1-value"}, "lease_duration": 2764800})

    async def login(self, request: web.Request) -> web.Response:
        if await request.json() != {"role_id": "the-role", "secret_id": "the-secret"}:
            return web.json_response({"errors": ["invalid role or secret ID"]}, status=400)
        self.logins += 1
        self.tokens = {f"issued-{self.logins}"}
        return web.json_response({"auth": {"client_token": f"issued-{self.logins}", "lease_duration": 1}})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/v1/secret/data/{path:.*}", self.read_v2)
        app.router.add_get("/v1/old/{path:.*}", self.read_v1)
        app.router.add_post("/v1/auth/approle/login", self.login)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    made = Vault()
    async with made.running():
        yield made


async def test_vault_with_a_token(vault: Vault) -> None:
    token = secrets.VaultAuthenticatorToken("root-token")
    provider = secrets.HashiCorpVaultKvSecretProvider(vault.url + "/", token)
    assert await provider.get("ci/deploy|token") == "v2-value"
    assert await provider.get("ci/deploy|key") == KEY
    assert await provider.get("ci/deploy|number") == "7"
    assert await provider.get(r"odd\|path|a") == "odd"
    for unknown in ("ci/deploy|absent", "ci/absent|token", "deleted|a", "ci/deploy", "|", "a|b|c", ""):
        assert await provider.get(unknown) is None, unknown
    assert "root-token" not in repr(provider)


async def test_vault_version_1_and_another_delimiter(vault: Vault) -> None:
    provider = HashiCorpVaultKvSecretProvider(
        vault.url, VaultAuthenticatorToken("root-token"), "old", api_version=1, path_delimiter=":"
    )
    assert await provider.get("ci/deploy:token") == "v1-value"
    assert await provider.get("ci/other:token") is None


async def test_a_role_logs_in_again_when_its_token_has_run_out(vault: Vault) -> None:
    provider = HashiCorpVaultKvSecretProvider(
        vault_server=vault.url, authenticator=secrets.VaultAuthenticatorApprole("the-role", "the-secret")
    )
    assert await provider.get("ci/deploy|token") == "v2-value"
    assert await provider.get("ci/deploy|key") == KEY
    assert vault.logins == 1
    vault.tokens = set()
    assert await provider.get("ci/deploy|token") == "v2-value"
    assert vault.logins == 2


async def test_why_vault_gives_nothing_is_said(vault: Vault) -> None:
    denied = HashiCorpVaultKvSecretProvider(vault.url, VaultAuthenticatorToken("wrong-token"))
    with pytest.raises(SecretUnavailable, match=r"'ci/deploy\|token'.* refuses: permission denied$"):
        await denied.get("ci/deploy|token")
    role = HashiCorpVaultKvSecretProvider(vault.url, VaultAuthenticatorApprole("the-role", "bad-secret"))
    with pytest.raises(SecretUnavailable, match="refuses the role: invalid role or secret ID") as caught:
        await role.get("ci/deploy|token")
    assert "bad-secret" not in str(caught.value)
    away = HashiCorpVaultKvSecretProvider(
        f"http://127.0.0.1:{free_port()}", VaultAuthenticatorToken("root-token")
    )
    with pytest.raises(SecretUnavailable, match="can't be reached"):
        await away.get("ci/deploy|token")


def test_what_vault_needs_is_said() -> None:
    token = VaultAuthenticatorToken("t")
    for arguments, said in (
        ({}, "vault_server must be Vault's URL"),
        ({"vault_server": "vault", "authenticator": token}, "vault_server must be a URL"),
        ({"vault_server": "http://vault", "authenticator": "t"}, "authenticator must be a way to a token"),
        ({"vault_server": "http://vault", "authenticator": token, "api_version": 3}, "must be 1 or 2"),
        ({"vault_server": "http://v", "authenticator": token, "path_delimiter": ""}, "one character"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            HashiCorpVaultKvSecretProvider(**arguments)
        assert said in str(caught.value)


# -- environment --------------------------------------------------------------------------------------------


def printed_by_a_child() -> bytes:
    """The environment of a process that is started now."""
    command = [sys.executable, "-c", "import os; print(os.environ)"]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def test_the_environment_is_read_once_and_handed_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_SECRET_UPLOAD_TOKEN", "from outside")
    provider = SecretInEnvironment("CI_SECRET_")
    assert await provider.get("upload-token") == "from outside"
    assert await provider.get("other") is None
    assert b"from outside" not in printed_by_a_child()
    again = SecretInEnvironment("CI_SECRET_")  # as a reload does
    assert await again.get("upload-token") == "from outside"
    assert "from outside" not in repr(again) + describe(again)


def test_an_empty_prefix_would_take_everything() -> None:
    with pytest.raises(ConfigErrors, match="must not be empty"):
        SecretInEnvironment("")
