"""Secrets in HashiCorp Vault (or OpenBao): its key-value engine, versions 1 and 2, over HTTP.

A secret's name is the entry's path and a key in it, with a ``|`` between them: ``ci/deploy|token``. It is
read when a build needs it, so a value that is changed there counts for the next build. A token that is
refused is asked for anew, once.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, shown
from buildwright.model.secrets import SecretUnavailable

if TYPE_CHECKING:
    import aiohttp

SECONDS = 30.0


class VaultAuthenticator(abc.ABC):
    """How a token for Vault is come by."""

    @abc.abstractmethod
    async def token(self, http: aiohttp.ClientSession, server: str) -> str:
        """A token that reads; raises SecretUnavailable."""


class VaultAuthenticatorToken(VaultAuthenticator):
    """A token that is given.

    Example::

        import os

        login = secrets.VaultAuthenticatorToken(os.environ.get("VAULT_TOKEN", "a token"))
        c["secretsProviders"].append(
            secrets.HashiCorpVaultKvSecretProvider("https://vault.example.org", login)
        )
    """

    def __init__(self, token: str) -> None:
        self._token = token
        expect(token, str, "VaultAuthenticatorToken: token", "text")

    async def token(self, http: aiohttp.ClientSession, server: str) -> str:  # noqa: ARG002
        return self._token


class VaultAuthenticatorApprole(VaultAuthenticator):
    """A token for a role, by the role's id and a secret id.

    Example::

        login = secrets.VaultAuthenticatorApprole(roleId="the role's id", secretId="its secret id")
        c["secretsProviders"].append(
            secrets.HashiCorpVaultKvSecretProvider("https://vault.example.org", login)
        )
    """

    def __init__(self, roleId: str, secretId: str) -> None:
        self._role = {"role_id": roleId, "secret_id": secretId}
        expect(roleId, str, "VaultAuthenticatorApprole: roleId", "text")
        expect(secretId, str, "VaultAuthenticatorApprole: secretId", "text")

    async def token(self, http: aiohttp.ClientSession, server: str) -> str:
        async with http.post(f"{server}/v1/auth/approle/login", json=self._role) as answer:
            if answer.status != 200:
                raise SecretUnavailable(f"Vault at {server} refuses the role: {await _why(answer)}")
            found = (await answer.json())["auth"]["client_token"]
        return str(found)


class HashiCorpVaultKvSecretProvider(metaclass=Checked):
    """Secrets of a key-value engine that is mounted at ``secrets_mount`` (``secret`` without one).

    Example::

        c["secretsProviders"].append(
            secrets.HashiCorpVaultKvSecretProvider(
                vault_server="https://vault.example.org:8200",
                authenticator=secrets.VaultAuthenticatorApprole("the role's id", "its secret id"),
                secrets_mount="ci",
            )
        )
    """

    def __init__(
        self,
        vault_server: str | None = None,
        authenticator: VaultAuthenticator | None = None,
        secrets_mount: str | None = None,
        api_version: int = 2,
        path_delimiter: str = "|",
        path_escape: str = "\\",
    ) -> None:
        what = type(self).__name__
        if expect(vault_server, str, f"{what}: vault_server", "Vault's URL, as in 'https://vault:8200'"):
            self.vault_server = str(vault_server).rstrip("/")
            if not self.vault_server.startswith(("http://", "https://")):
                error(f"{what}: vault_server must be a URL, as in 'https://vault:8200', not {vault_server!r}")
        if not isinstance(authenticator, VaultAuthenticator):
            error(
                f"{what}: authenticator must be a way to a token, not {shown(authenticator)}",
                "as in secrets.VaultAuthenticatorApprole(roleId='...', secretId='...')",
            )
        if api_version not in (1, 2):
            error(f"{what}: api_version must be 1 or 2, not {shown(api_version)}")
        for name, value in (("path_delimiter", path_delimiter), ("path_escape", path_escape)):
            fits = expect(value, str, f"{what}: {name}", "one character")
            if fits and (len(value) > 1 or (name == "path_delimiter" and not value)):
                error(f"{what}: {name} must be one character, not {shown(value)}")
        self.secrets_mount = "secret" if secrets_mount is None else str(secrets_mount).strip("/")
        self.api_version = api_version
        self.path_delimiter = path_delimiter
        self.path_escape = path_escape
        self._authenticator = authenticator
        self._token: str | None = None

    async def get(self, name: str) -> str | None:
        """The value, or None if there is no such entry or key. Raises SecretUnavailable."""
        parts = self._parted(name)
        if parts is None:
            return None
        import aiohttp

        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http:
                return await self._read(http, *parts)
        except (aiohttp.ClientError, TimeoutError) as problem:
            why = str(problem) or "no answer"
            raise SecretUnavailable(
                f"secret {name!r}: Vault at {self.vault_server} can't be reached: {why}"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise SecretUnavailable(
                f"secret {name!r}: Vault at {self.vault_server} gives an answer of another form: is "
                f"{self.secrets_mount!r} a key-value engine of version {self.api_version}?"
            ) from None

    def _parted(self, name: str) -> tuple[str, str] | None:
        """Path and key; None for a name that has no delimiter, and so isn't of this provider."""
        parts, escaped = [""], False
        for character in name:
            if not escaped and character == self.path_escape:
                escaped = True
                continue
            if character == self.path_delimiter and not escaped:
                parts.append("")
            else:
                parts[-1] += character
            escaped = False
        return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None

    async def _read(self, http: aiohttp.ClientSession, path: str, key: str) -> str | None:
        inner = "data/" if self.api_version == 2 else ""
        url = f"{self.vault_server}/v1/{quote(self.secrets_mount)}/{inner}{quote(path.strip('/'))}"
        for is_new in (self._token is None, True):
            if self._token is None:
                assert self._authenticator is not None
                self._token = await self._authenticator.token(http, self.vault_server)
            async with http.get(url, headers={"X-Vault-Token": self._token}) as answer:
                if answer.status == 404:
                    return None
                if answer.status == 200:
                    found = _content((await answer.json())["data"], self.api_version).get(key)
                    return None if found is None else str(found)
                if answer.status != 403 or is_new:
                    raise SecretUnavailable(
                        f"secret {path + self.path_delimiter + key!r}: Vault at {self.vault_server} refuses: "
                        f"{await _why(answer)}"
                    )
            self._token = None  # it may have run out
        raise AssertionError("the second try has answered")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vault_server!r}, secrets_mount={self.secrets_mount!r})"


def _content(data: dict[str, Any], version: int) -> dict[str, Any]:
    inner: dict[str, Any] = (data["data"] or {}) if version == 2 else data
    return inner


async def _why(answer: aiohttp.ClientResponse) -> str:
    """Vault's own words."""
    try:
        errors = (await answer.json())["errors"]
    except Exception:  # whatever is between us and Vault may answer anything
        errors = []
    return ", ".join(str(each) for each in errors)[:200] or f"HTTP status {answer.status}"
